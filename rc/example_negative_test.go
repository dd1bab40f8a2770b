package rc_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A loader that returns ErrNotFound, wrapped or not, is not asked again for
// NegativeTTL.
func Example_negative() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := rc.New(m, "users", rc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	queries := 0
	load := func(context.Context) (string, error) {
		queries++
		return "", fmt.Errorf("user 7: %w", rc.ErrNotFound)
	}
	for range 3 {
		_, err = users.GetOrSet(ctx, "7", load)
	}
	fmt.Println(errors.Is(err, rc.ErrNotFound), queries, "query")

	_, found, err := users.Get(ctx, "7")
	fmt.Println("Get:", found, err)
	it, _ := users.Lookup(ctx, "7")
	fmt.Println("Lookup:", it.Found, it.NotFound)
	// Output:
	// true 1 query
	// Get: false <nil>
	// Lookup: false true
}
