package key

import (
	"errors"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/hashslot"
)

// A group has one slot, and the groups are spread evenly.
func TestTagGroups(t *testing.T) {
	seen := map[uint16]int{}
	for g := range TagGroups {
		slot := hashslot.Of(GuardKey("", g))
		seen[slot/(16384/TagGroups)]++
	}
	if len(seen) != TagGroups {
		t.Errorf("the %d groups are in %d parts of the slots, want one in each", TagGroups, len(seen))
	}
	for _, tag := range []string{"a", "product:7", "{x}", "with } and {", strings.Repeat("x", MaxTag)} {
		tk, gk := TagKey("app", tag), GuardKey("app", TagGroup(tag))
		if hashslot.Of(tk) != hashslot.Of(gk) {
			t.Errorf("tag %q is in slot %d, its guard in %d", tag, hashslot.Of(tk), hashslot.Of(gk))
		}
	}
}

// The keys of a released version stay what they are: tokens outlive a deploy.
func TestTagKeysAreStable(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{TagKey("", "product:7"), "cache:#tag:{t122}:product:7"},
		{GuardKey("app:x", 0), "app:x:#guard:{t29}"},
		{GuardKey("app:x", 63), "app:x:#guard:{t79}"},
	} {
		if c.got != c.want {
			t.Errorf("key is %q, want %q", c.got, c.want)
		}
	}
	s, err := NewSpace("app", "v2", "users")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.TokenKey(-1), "app:v2:users:#token"; got != want {
		t.Errorf("TokenKey = %q, want %q", got, want)
	}
}

func TestCheckTag(t *testing.T) {
	for _, tag := range []string{"", strings.Repeat("x", MaxTag+1)} {
		if err := CheckTag(tag); !errors.Is(err, ErrInvalid) {
			t.Errorf("CheckTag of %d bytes = %v, want ErrInvalid", len(tag), err)
		}
	}
	if err := CheckTag("any bytes \x00{}"); err != nil {
		t.Errorf("CheckTag = %v", err)
	}
}
