package rc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// B is told that A loads; A fills before B's tracked read of the claim, which
// finds none. Nobody will wake B: it must look again at once, and not wait for
// the end of a lease that is gone.
func TestRaceFilledBetweenClaimAndWatch(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour}
	_, a := instance(t, srv, quiet(), cfg)
	_, b := instance(t, srv, quiet(), cfg)
	warm(t, a)
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	cached(t, b, "k", "")
	arrived, release := srv.Hold("EVALSHA")
	defer release()
	wait := async(func() (string, error) { return b.GetOrSet(t.Context(), "k", never(t)) })
	event(t, arrived, "B's claim")
	claim, releaseClaim := srv.Hold("CLIENT") // the next command of that pipeline
	defer releaseClaim()
	release()
	event(t, claim, "B's watch")
	l.finish("v", nil)
	until(t, "A's fill", func() bool { return do(t, srv, "EXISTS", key(t, a, "k")) == int64(1) })
	releaseClaim()
	wait.want(t, "v")
	load.want(t, "v")
}

// B is told that A loads; A fails before B watches the claim, and what B then
// finds is the mark of that failure. It is no claim to wait for.
func TestRaceFailedBetweenClaimAndWatch(t *testing.T) {
	t.Parallel()
	srv := start(t)
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour, ErrorBackoff: time.Hour}
	_, a := instance(t, srv, quiet(), cfg)
	_, b := instance(t, srv, quiet(), cfg)
	warm(t, a)
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	watch, release := srv.Hold("EXISTS")
	defer release()
	wait := async(func() (string, error) { return b.GetOrSet(t.Context(), "k", never(t)) })
	event(t, watch, "B's watch")
	l.finish("", errBoom)
	if _, err := load.get(t); !errors.Is(err, errBoom) {
		t.Errorf("A got %v, want the loader's error", err)
	}
	release()
	if _, err := wait.get(t); !errors.Is(err, rc.ErrBackoff) {
		t.Errorf("B got %v, want ErrBackoff", err)
	}
}

// Two services with one namespace load once.
func TestRaceTwoServicesLoadOnce(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m := open(t, srv, calm())
	cfg := rc.Config[string]{LeaseTTL: time.Hour, LockWait: time.Hour}
	one, two := service(t, m, cfg), service(t, m, cfg)
	l := newLoader()
	f := async(func() (string, error) { return one.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	g := async(func() (string, error) { return two.GetOrSet(t.Context(), "k", never(t)) })
	until(t, "the second service to wait", func() bool { return two.Stats().Waits == 1 })
	l.finish("v", nil)
	f.want(t, "v")
	g.want(t, "v")
}
