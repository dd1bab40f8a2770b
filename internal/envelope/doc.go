// Package envelope is the binary format of every value the cache stores in
// Redis: a fixed header, the tokens of the tags the value depends on, and the
// payload a codec wrote.
//
// # Format version 1
//
// All integers are big-endian. The header has 64 bytes.
//
//	offset  size  field
//	     0     2  magic "FC"
//	     2     1  format version, 1
//	     3     1  flags; bit 0: negative entry, the others are reserved
//	     4     1  codec id
//	     5     1  stale mark, 0 or 1; flipped in place by a Lua script
//	     6     2  number of tag records
//	     8     8  write id, random for every write
//	    16     8  user version, 0 = none
//	    24     8  FNV-1a of the full Redis key
//	    32     8  soft TTL, milliseconds
//	    40     8  hard TTL, milliseconds
//	    48     4  duration of the load, microseconds, saturating
//	    52     4  payload length
//	    56     8  namespace token
//	    64        tag records: uint16 name length, name, uint64 token
//	              payload
//
// There is no wall clock in it. The age of a value is its hard TTL minus the
// time to live the server still reports, so clocks of different machines never
// meet.
//
// The lengths must add up to the size of the value exactly. A value that is
// longer or shorter than its header says is corrupt, so is one that was stored
// for another key, and both are errors that a cache treats as a miss. There is
// no checksum: the format detects truncation, concatenation, foreign values
// and misplaced ones, not a bit that flipped inside the payload.
//
// A reader refuses what it does not know, a higher format version or a
// reserved flag, with [ErrNewer]. So two releases can share keys during a
// rolling deploy: the older one misses what the newer one wrote.
package envelope
