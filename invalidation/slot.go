package invalidation

// slots is the number of hash slots of a cluster.
const slots = 16384

// slot returns the hash slot of a hash tag: CRC16 (XMODEM) modulo 16384 (Redis
// Cluster specification). It is used when a Bus is opened only, so it takes the
// bits one by one instead of by a table.
func slot(tag string) int {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			carry := crc & 0x8000
			crc <<= 1
			if carry != 0 {
				crc ^= 0x1021
			}
		}
	}
	return int(crc % slots)
}
