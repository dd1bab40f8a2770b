package rc_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A loader can say, through its context, how long its value is good for, or
// that it is not to be kept.
func Example_loaderOptions() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := rc.New(m, "tokens", rc.Config[string]{TTL: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = tokens.GetOrSet(ctx, "long", func(ctx context.Context) (string, error) {
		rc.SetTTL(ctx, time.Hour) // as the issuer of the token said
		return "abc", nil
	})
	_, _ = tokens.GetOrSet(ctx, "partial", func(ctx context.Context) (string, error) {
		rc.DoNotCache(ctx)
		return "def", nil
	})
	ttl, found, _ := tokens.TTL(ctx, "long")
	fmt.Println("long:", ttl > 59*time.Minute, found)
	_, found, _ = tokens.TTL(ctx, "partial")
	fmt.Println("partial:", found)
	// Output:
	// long: true true
	// partial: false
}
