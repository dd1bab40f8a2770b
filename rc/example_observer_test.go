package rc_test

import (
	"context"
	"fmt"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// printer is an observer of hits, misses and loads. It embeds NopObserver for
// the rest.
type printer struct{ rc.NopObserver }

func (printer) Hit(_ context.Context, e rc.HitEvent) { fmt.Println("hit", e.ID, "from", e.Source) }

func (printer) Miss(_ context.Context, e rc.MissEvent) { fmt.Println("miss", e.ID, e.Reason) }

// LoadEnd has the context that LoadStart returned: the place for a span.
func (printer) LoadEnd(_ context.Context, e rc.LoadEndEvent) { fmt.Println("loaded", e.IDs, e.Err) }

func Example_observer() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{Observer: printer{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := rc.New(m, "users", rc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_, _ = users.GetOrSet(ctx, "42", func(context.Context) (string, error) { return "Ada", nil })
	}
	s := m.Stats()
	fmt.Println(s.L1Hits, "hit,", s.Misses, "miss,", s.Loads, "load")
	// Output:
	// miss 42 absent
	// loaded [42] <nil>
	// hit 42 from L1
	// 1 hit, 1 miss, 1 load
}
