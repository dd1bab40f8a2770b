package rc_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// With StaleFor a value outlives its TTL: it is served when the source fails.
// Delete ends it at once; Expire keeps it for that case.
func Example_stale() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	prices, err := rc.New(m, "prices", rc.Config[int]{
		TTL:         time.Minute,
		StaleFor:    time.Hour,
		SoftTimeout: rc.Off, // wait for the load, and take the old value only if it fails
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := func(context.Context) (int, error) { return 0, errors.New("database is down") }

	_ = prices.Set(ctx, "apple", 3)
	srv.FastForward(2 * time.Minute)
	price, err := prices.GetOrSet(ctx, "apple", down)
	fmt.Println("after the TTL:", price, err)

	_ = prices.Set(ctx, "pear", 4)
	_ = prices.Expire(ctx, "pear")
	price, err = prices.GetOrSet(ctx, "pear", down)
	fmt.Println("after Expire:", price, err)

	_ = prices.Set(ctx, "plum", 5)
	_ = prices.Delete(ctx, "plum")
	_, err = prices.GetOrSet(ctx, "plum", down)
	fmt.Println("after Delete:", err)
	// Output:
	// after the TTL: 3 <nil>
	// after Expire: 4 <nil>
	// after Delete: database is down
}
