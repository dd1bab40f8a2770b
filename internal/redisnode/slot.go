package redisnode

import "strings"

// SlotCount is the number of hash slots of a cluster.
const SlotCount = 16384

// Slot returns the cluster slot of key. Only the text between the first "{" and
// the next "}" is hashed when there is such text and it is not empty.
func Slot(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	return int(crc16(key)) % SlotCount
}

// crc16 is CRC-16/XMODEM, bit by bit: tests hash too few keys for a table.
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
