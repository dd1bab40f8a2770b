package rc

import "testing"

// An Expire after a Delete does not make what the Delete removed servable.
func TestOwnPurgeStaysAPurge(t *testing.T) {
	var o own
	o.note("k", false, 10, 11)
	o.note("k", true, 20, 22)
	if older, soft := o.after("k", 30, 5); !older || soft {
		t.Errorf("after = %v, %v of a value from before both writes, want it purged", older, soft)
	}
	if older, _ := o.after("k", 30, 20); older {
		t.Error("a value stored with the last write counts as older")
	}
	// What was set after that, and is then expired, may still be served as stale.
	o.note("k", false, 40, 41)
	o.note("k", true, 50, 51)
	if older, soft := o.after("k", 60, 45); !older || !soft {
		t.Errorf("after = %v, %v of what was set before it was expired, want it stale", older, soft)
	}
	if older, soft := o.after("k", 60, 35); !older || soft {
		t.Errorf("after = %v, %v of what was there before the last Set, want it purged", older, soft)
	}
	o = own{}
	o.note("k", false, 10, 11)
	o.note("k", true, 20, 22)
	if older, _ := o.after("k", 10, 5); older {
		t.Error("what a read finds that was sent before the write was confirmed counts as missed")
	}
}
