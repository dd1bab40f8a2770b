package rc

import "testing"

// An Expire after a Delete does not make what the Delete removed servable.
func TestOwnPurgeStaysAPurge(t *testing.T) {
	var o own
	o.note("k", false, 10)
	o.note("k", true, 20)
	if older, soft := o.after("k", 5); !older || soft {
		t.Errorf("after = %v, %v of a value from before both writes, want it purged", older, soft)
	}
	if older, _ := o.after("k", 20); older {
		t.Error("a value stored with the last write counts as older")
	}
}
