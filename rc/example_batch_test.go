package rc_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A batch calls its loader once, with the identifiers nobody has cached. Those
// it does not return do not exist, and that is remembered.
func Example_batch() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	names, err := rc.New(m, "names", rc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	table := map[string]string{"1": "Ada", "2": "Grace", "3": "Barbara"}
	load := func(_ context.Context, missing []string) (map[string]string, error) {
		slices.Sort(missing)
		fmt.Println("query for", missing)
		out := map[string]string{}
		for _, id := range missing {
			if name, ok := table[id]; ok {
				out[id] = name
			}
		}
		return out, nil
	}
	_ = names.Set(ctx, "2", "Grace")
	for range 2 {
		got, err := names.GetOrSetMany(ctx, []string{"1", "2", "3", "4"}, load)
		fmt.Println(got, err)
	}
	// Output:
	// query for [1 3 4]
	// map[1:Ada 2:Grace 3:Barbara] <nil>
	// map[1:Ada 2:Grace 3:Barbara] <nil>
}
