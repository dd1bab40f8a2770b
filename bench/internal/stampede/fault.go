//go:build unix

package stampede

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// shards are slots of three shards.
var shards = []int{0, localredis.SlotCount / 2, localredis.SlotCount - 1}

// A victim is a primary that is killed.
type victim struct {
	server *localredis.Server
	slot   int // one of its slots
}

// pickVictim returns the primary that has the most keys: that of a contender
// without Redis is of no consequence.
func pickVictim(ctx context.Context, c *localredis.Cluster) (v victim, err error) {
	most := int64(-1)
	for _, slot := range shards {
		p, err := c.PrimaryOf(ctx, slot)
		if err != nil {
			return v, fmt.Errorf("stampede: %w", err)
		}
		reply, err := p.Do(ctx, "DBSIZE")
		if err != nil {
			return v, fmt.Errorf("stampede: %w", err)
		}
		if n, _ := reply.(int64); n > most {
			most, v = n, victim{p, slot}
		}
	}
	return v, nil
}

// kill ends the primary and returns after how long its replica had taken over.
func (v victim) kill(ctx context.Context, c *localredis.Cluster) (time.Duration, error) {
	began := time.Now()
	if err := v.server.Kill(); err != nil {
		return 0, fmt.Errorf("stampede: kill %s: %w", v.server, err)
	}
	if _, err := c.WaitPrimary(ctx, v.slot, v.server); err != nil {
		return 0, fmt.Errorf("stampede: wait for the successor of %s: %w", v.server, err)
	}
	return time.Since(began), nil
}

// mend starts it again, as a replica, and waits for the cluster to be whole.
func (v victim) mend(ctx context.Context, c *localredis.Cluster) error {
	if err := v.server.Start(); err != nil {
		return fmt.Errorf("stampede: start %s again: %w", v.server, err)
	}
	if err := c.WaitHealthy(ctx); err != nil {
		return fmt.Errorf("stampede: wait for the cluster: %w", err)
	}
	return nil
}

// flush empties the cluster.
func flush(ctx context.Context, c *localredis.Cluster) error {
	for _, slot := range shards {
		p, err := c.PrimaryOf(ctx, slot)
		if err != nil {
			return fmt.Errorf("stampede: %w", err)
		}
		if _, err := p.Do(ctx, "FLUSHALL"); err != nil {
			return fmt.Errorf("stampede: %w", err)
		}
	}
	return nil
}
