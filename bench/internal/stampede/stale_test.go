//go:build unix

package stampede

import "testing"

func TestStaleness(t *testing.T) {
	t.Parallel()
	acks := []ack{{2, 100}, {3, 200}, {5, 300}} // the invalidation of 4 failed
	for _, test := range []struct {
		name    string
		began   int64
		version uint64
		age     int64
		stale   bool
	}{
		{"the first version before anything was announced", 50, 1, 0, false},
		{"a read that began when the invalidation returned", 100, 1, 0, false},
		{"a read that began after it", 101, 1, 1, true},
		{"a version that is too new to be announced yet", 150, 3, 0, false},
		{"two behind: its age is that of the first one missed", 250, 1, 150, true},
		{"one behind", 250, 2, 50, true},
		{"what was current, when the next had not been announced", 250, 3, 0, false},
		{"what nobody was told of is covered by the next", 310, 4, 10, true},
		{"the newest", 1000, 5, 0, false},
		{"newer than what was announced", 1000, 6, 0, false},
	} {
		if age, stale := staleness(acks, test.began, test.version); age != test.age || stale != test.stale {
			t.Errorf("%s: staleness = %d, %v; want %d, %v", test.name, age, stale, test.age, test.stale)
		}
	}
	if _, stale := staleness(nil, 1000, 1); stale {
		t.Error("a read is stale although nothing was invalidated")
	}
}
