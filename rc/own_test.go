package rc_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// TestRaceOwnWriteMissed: a server that has not got a write of this process,
// because it is a deposed primary or has lost it in a failover, answers a read
// with what was there before. It is not used. Found by the chaos suite (a
// failover in agreement).
func TestRaceOwnWriteMissed(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"Set", "Delete", "DeleteMany", "Expire"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, s := instance(t, srv, calm(), rc.Config[string]{StaleFor: time.Minute, ErrorBackoff: rc.Off})
			_, other := instance(t, srv, calm(), rc.Config[string]{})
			set(t, s, "k", "old")
			k := key(t, s, "k")
			raw, err := srv.Do("GET", k)
			if err != nil {
				t.Fatal(err)
			}
			// The value is older than the server can tell apart from the write, and
			// by more than what this test may be held up until it puts it back.
			srv.FastForward(5 * time.Second)
			left, err := srv.Do("PTTL", k)
			if err != nil {
				t.Fatal(err)
			}
			switch verb {
			case "Set":
				set(t, s, "k", "new")
			case "Delete":
				err = s.Delete(t.Context(), "k")
			case "DeleteMany":
				err = s.DeleteMany(t.Context(), []string{"k"})
			case "Expire":
				err = s.Expire(t.Context(), "k")
			}
			if err != nil {
				t.Fatal(err)
			}
			// What the other server has: the value, and the time it has left.
			if _, err := srv.Do("SET", k, raw.(string), "PX", strconv.FormatInt(left.(int64), 10)); err != nil {
				t.Fatal(err)
			}
			until(t, "the change to be in memory", func() bool {
				v, found, err := s.Get(t.Context(), "k")
				return err == nil && (!found || v == "old")
			})
			it, err := s.Lookup(t.Context(), "k")
			switch {
			case err != nil:
				t.Fatal(err)
			case verb != "Expire" && it.Found:
				t.Errorf("Lookup = %+v of what was there before the write, want nothing", it)
			case it.Found && !it.Stale:
				t.Errorf("Lookup = %+v of what was expired, want it stale", it)
			}
			// Others, who have not written, cannot know.
			if v, _, err := other.Get(t.Context(), "k"); v != "old" || err != nil {
				t.Errorf("Get of another instance = %q, %v; the test is not about that", v, err)
			}
			var n atomic.Int32
			if v, err := s.GetOrSet(t.Context(), "k", gives("loaded", &n)); v != "loaded" || err != nil {
				t.Errorf("GetOrSet = %q, %v, want the loaded value", v, err)
			}
			cached(t, other, "k", "loaded")
			if s.Stats().OwnMissed == 0 {
				t.Error("OwnMissed = 0")
			}
		})
	}
}
