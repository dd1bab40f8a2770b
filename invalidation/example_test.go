package invalidation_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/fleetcache/fleetcache/invalidation"
	"github.com/fleetcache/fleetcache/rctest"
)

// Two instances of a service, one of which tells the other what has changed. On
// a real deployment the client option names its addresses.
func Example() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	cfg := invalidation.Config{Logger: slog.New(slog.DiscardHandler)}

	one, err := invalidation.Open(ctx, srv.ClientOption(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer one.Close()
	two, err := invalidation.Open(ctx, srv.ClientOption(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer two.Close()

	dropped := make(chan string)
	two.Subscribe(func(e invalidation.Event) {
		switch e.Kind {
		case invalidation.Gap:
			dropped <- "everything of a partition"
		case invalidation.Key:
			dropped <- e.Namespace + " " + e.Name
		}
	})
	_, err = one.Publish(ctx, invalidation.Event{Kind: invalidation.Key, Namespace: "page", Name: "/home"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dropped", <-dropped)
	// Output: dropped page /home
}
