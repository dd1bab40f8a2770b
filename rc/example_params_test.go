package rc_test

import (
	"context"
	"fmt"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// Params are what a value depends on besides its identifier: the arguments of
// a query, for instance. Their order does not matter, their types do.
func Example_params() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	pages, err := rc.New(m, "pages", rc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	page := func(opts ...rc.Opt) string {
		v, err := pages.GetOrSet(ctx, "users", func(context.Context) (string, error) {
			fmt.Println("query")
			return "a page", nil
		}, opts...)
		if err != nil {
			return err.Error()
		}
		return v
	}
	fmt.Println(page(rc.WithParams("skip", 20, "limit", 10)))
	fmt.Println(page(rc.WithParams("limit", 10, "skip", 20)))
	fmt.Println(page(rc.WithParams("limit", "10", "skip", 20)))
	// Output:
	// query
	// a page
	// a page
	// query
	// a page
}
