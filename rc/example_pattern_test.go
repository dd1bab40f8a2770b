package rc_test

import (
	"context"
	"fmt"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// A pattern finds values by their identifiers. It looks at every key in Redis:
// where it is known beforehand what will go together, a tag is the better way.
func ExampleCacheService_InvalidatePattern() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	pages, err := rc.New(m, "pages", rc.Config[string]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, id := range []string{"blog:1", "blog:2", "shop:1"} {
		if err := pages.Set(ctx, id, "text"); err != nil {
			fmt.Println(err)
		}
	}
	if err := pages.Set(ctx, "blog:2", "long text", rc.WithParams("format", "full")); err != nil {
		fmt.Println(err)
	}
	n, err := pages.InvalidatePattern(ctx, "blog:*")
	fmt.Println(n, err)
	found, err := pages.Exists(ctx, "shop:1")
	fmt.Println(found, err)
	// Output:
	// 3 <nil>
	// true <nil>
}
