package compare

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Fill loads a product of some size for each identifier. 0 is the usual size.
func Fill(ctx context.Context, c peer.Cache, ids []string, size int) error {
	return each(ctx, ids, func(ctx context.Context, i int) error {
		_, err := c.GetOrLoad(ctx, ids[i], func(context.Context) (subject.Product, error) {
			return subject.NewLargeProduct(int64(i), size), nil
		})
		return err
	})
}

// FillAbsent makes a peer remember that identifiers do not exist.
func FillAbsent(ctx context.Context, c peer.Cache, ids []string) error {
	return each(ctx, ids, func(ctx context.Context, i int) error {
		_, err := c.GetOrLoad(ctx, ids[i], func(context.Context) (subject.Product, error) {
			return subject.Product{}, peer.ErrNotFound
		})
		if err == nil {
			return fmt.Errorf("%q was found", ids[i])
		}
		return nil
	})
}

// each calls f for each identifier, in as many goroutines as keep a connection
// busy, which end with the last one or the first error.
func each(ctx context.Context, ids []string, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(subject.PerCore)
	for i := range ids {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// patience is how long something may take that happens in the background.
const patience = 15 * time.Second

// Warm reads until nearly no read goes to Redis any more: some memories take a
// value with its second read, some in the background, some now and then only.
func Warm(ctx context.Context, c peer.Cache, ids []string, servers []*localredis.Server) error {
	if err := Settle(ctx, c, ids); err != nil {
		return err
	}
	return passes(ids, Hit(c, ids), servers, func(commands int64) bool {
		return commands <= int64(len(ids)/50+20)
	})
}

// Settle reads until no read runs the load: some store in the background.
func Settle(ctx context.Context, c peer.Cache, ids []string) error {
	end := time.Now().Add(patience)
	for {
		err := each(ctx, ids, func(_ context.Context, i int) error { return Hit(c, ids)(i) })
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// passes reads all identifiers until the commands of one pass are few enough.
func passes(ids []string, read Op, servers []*localredis.Server, enough func(commands int64) bool) error {
	end := time.Now().Add(patience)
	for {
		before, err := subject.UsageOf(servers)
		if err != nil {
			return err
		}
		for i := range ids {
			// gocache loads now and then what it is just storing.
			if err := read(i); err != nil && time.Now().After(end) {
				return err
			}
		}
		after, err := subject.UsageOf(servers)
		if err != nil {
			return err
		}
		commands := after.Commands - before.Commands
		if enough(commands) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d reads still take %d commands after %v", len(ids), commands, patience)
		}
	}
}
