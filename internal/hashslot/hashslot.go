// Package hashslot knows in which slot of a Redis Cluster a key is.
package hashslot

import "strings"

// Count is the number of hash slots of a cluster.
const Count = 16384

// Of returns the hash slot of a key: CRC16 (XMODEM) modulo 16384 of the
// part between the first '{' and the next '}', if there is such a part and it
// is not empty, and of the whole key otherwise (Redis Cluster specification).
func Of(key string) uint16 {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	var crc uint16
	for i := 0; i < len(key); i++ {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return crc % Count
}

var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
