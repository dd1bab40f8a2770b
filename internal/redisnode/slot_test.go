package redisnode

import "testing"

func TestSlot(t *testing.T) {
	t.Parallel()
	// The check value of CRC-16/XMODEM.
	if got := crc16("123456789"); got != 0x31c3 {
		t.Errorf("crc16 = %#x, want 0x31c3", got)
	}
	for _, tt := range []struct{ key, hashed string }{
		{"plain", "plain"},
		{"a{tag}b", "tag"},
		{"{tag}", "tag"},
		{"a{}b{tag}", "a{}b{tag}"},
		{"a{{tag}}", "{tag"},
		{"a{tag", "a{tag"},
		{"a}b{tag}", "tag"},
		{"{a}{b}", "a"},
		{"", ""},
	} {
		if got, want := Slot(tt.key), int(crc16(tt.hashed))%16384; got != want {
			t.Errorf("Slot(%q) = %d, want that of %q, %d", tt.key, got, tt.hashed, want)
		}
	}
}
