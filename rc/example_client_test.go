package rc_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// The rueidis client of the Manager is for everything else. What is read there
// with DoCache is kept in the same near cache, and Redis announces its changes.
func ExampleManager_Client() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := m.Client()
	for _, r := range c.DoMulti(ctx,
		c.B().Hset().Key("cart:7").FieldValue().FieldValue("apple", "3").Build(),
		c.B().Expire().Key("cart:7").Seconds(60).Build(),
	) {
		if err := r.Error(); err != nil {
			fmt.Println(err)
		}
	}
	for range 2 {
		r := c.DoCache(ctx, c.B().Hget().Key("cart:7").Field("apple").Cache(), time.Minute)
		n, err := r.ToString()
		fmt.Println(n, "from memory:", r.IsCacheHit(), err)
	}
	// Output:
	// 3 from memory: false <nil>
	// 3 from memory: true <nil>
}
