package rc_test

import (
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// With versions, bytes that nobody can read must not count as a newer version
// for ever: the loader's value takes their place.
func TestRaceBadBytesAreNoVersion(t *testing.T) {
	t.Parallel()
	for _, c := range badBytes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			badUnder(t, c.make, nil, false, rc.Config[string]{Version: func(v string) uint64 { return uint64(len(v)) }})
		})
	}
}
