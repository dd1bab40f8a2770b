package rc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
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
	watched := holdWatch(srv)
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	watched(t)
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
	watched := holdWatch(srv)
	l := newLoader()
	load := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	watched(t)
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

// holdWatch prepares for a load that begins next and watches its own claim after
// a while. What it returns lets that happen, so that what comes then is sent by
// others.
func holdWatch(srv *rctest.Server) func(*testing.T) {
	watch, watched := srv.Hold("EXISTS")
	return func(t *testing.T) {
		t.Helper()
		event(t, watch, "the holder's watch")
		last, goOn := srv.Hold("GET") // ends that pipeline
		watched()
		event(t, last, "the end of the holder's watch")
		goOn()
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
