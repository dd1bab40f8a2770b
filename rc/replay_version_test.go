package rc_test

import (
	"context"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

type numbered struct {
	V int
	B string
}

func numbers() rc.Config[numbered] {
	return rc.Config[numbered]{Version: func(v numbered) uint64 { return uint64(v.V) }}
}

// A Delete is sent again after its connection was lost, and meets a newer
// version that somebody has set since. What is older than that must not be
// stored after it. Found by the chaos suite (blackhole).
func TestRaceReplayMeetsNewerVersion(t *testing.T) {
	t.Parallel()
	srv := start(t)
	ma := open(t, srv, calm())
	a, err := rc.New(ma, "things", numbers())
	if err != nil {
		t.Fatal(err)
	}
	b, err := rc.New(open(t, srv, calm()), "things", numbers())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for _, err := range []error{
		b.Set(ctx, "k", numbered{7, "first"}), a.Delete(ctx, "k"), b.Set(ctx, "k", numbered{9, "newer"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := ma.Stats().Replayed
	srv.DropConnections()
	until(t, "the Delete to be sent again", func() bool { return ma.Stats().Replayed > before })
	if _, found, err := b.Get(ctx, "k"); found || err != nil {
		t.Errorf("Get after the Delete = %v, %v, want nothing", found, err)
	}
	lagging := func(context.Context) (numbered, error) { return numbered{8, "lagging replica"}, nil }
	if v, err := b.GetOrSet(ctx, "k", lagging); v.V != 8 || err != nil {
		t.Errorf("GetOrSet = %+v, %v, want what was loaded", v, err)
	}
	if v, found, err := a.Get(ctx, "k"); found || err != nil {
		t.Errorf("Get = %+v, %v, %v: an older version came back", v, found, err)
	}
	if v, err := b.GetOrSet(ctx, "k", func(context.Context) (numbered, error) { return numbered{9, "newer"}, nil }); v.V != 9 || err != nil {
		t.Errorf("GetOrSet = %+v, %v, want version 9", v, err)
	}
	until(t, "the newest version to be stored", func() bool {
		v, found, err := a.Get(ctx, "k")
		return found && err == nil && v.V == 9
	})
}
