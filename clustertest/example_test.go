package clustertest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/clustertest"
)

// Visits is the service under test: it counts visits in Redis.
type Visits struct{ client rueidis.Client }

// Add counts a visit, and tries again while a shard is being failed over.
func (v *Visits) Add(ctx context.Context, page string) (int64, error) {
	for {
		n, err := v.client.Do(ctx, v.client.B().Incr().Key("visits:"+page).Build()).AsInt64()
		if err == nil || ctx.Err() != nil {
			return n, err
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestVisitsSurviveTheLossOfAPrimary(t *testing.T) {
	c := clustertest.Start(t, clustertest.Topology{Primaries: 3, ReplicasPerPrimary: 1})
	client, err := rueidis.NewClient(c.ClientOption())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	visits := &Visits{client}
	if _, err := visits.Add(ctx, "home"); err != nil {
		t.Fatal(err)
	}

	primary, err := c.PrimaryOfKey(ctx, "visits:home")
	if err != nil {
		t.Fatal(err)
	}
	if err := primary.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	// Without a wait for the failover: that is what the service has to do.
	if _, err := visits.Add(ctx, "home"); err != nil {
		t.Errorf("Add while the primary is gone: %v", err)
	}

	if err := primary.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitStable(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := visits.Add(ctx, "home"); err != nil {
		t.Errorf("Add after the primary is back: %v", err)
	}
}
