package hashslot

import "testing"

func TestOf(t *testing.T) {
	// Examples of the Redis Cluster specification, and of CLUSTER KEYSLOT.
	for key, want := range map[string]uint16{
		"123456789": 12739, "foo": 12182, "{foo}.bar": 12182, "a{foo}b{bar}": 12182,
		"foo{}{bar}": 8363, "foo{{bar}}zap": Of("{bar"), "": 0, "{": Of("{"),
	} {
		if got := Of(key); got != want {
			t.Errorf("Of(%q) = %d, want %d", key, got, want)
		}
	}
}
