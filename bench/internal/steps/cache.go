//go:build unix

package steps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/singleflight"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/rc"
)

// loadFunc asks the database.
type loadFunc = func(context.Context) (origin.Row, error)

// A cache is what a step puts before the database.
type cache interface {
	get(ctx context.Context, id string, load loadFunc) (origin.Row, error)
	close() error
}

// openArgs is what a process opens: a step, scaled.
type openArgs struct {
	Step   step
	Addrs  []string
	Prefix string
	TTL    time.Duration
	Socket string // of the database
	IDs    []string
}

// scale returns the step in the time of this run.
func (c Config) scale(s step) step {
	s.Throttle, s.StaleFor, s.Soft = c.scaled(s.Throttle), c.scaled(s.StaleFor), c.scaled(s.Soft)
	return s
}

func openCache(ctx context.Context, a openArgs) (cache, error) {
	switch a.Step.Kind {
	case nothing:
		return noCache{}, nil
	case memory:
		return &memoryCache{ttl: a.TTL, rows: map[string]kept{}}, nil
	case redis:
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: a.Addrs})
		if err != nil {
			return nil, fmt.Errorf("steps: %w", err)
		}
		return &redisCache{client: c, ttl: a.TTL, prefix: a.Prefix}, nil
	case fleet:
		return openFleet(ctx, a)
	}
	return nil, fmt.Errorf("steps: no cache %q", a.Step.Kind)
}

// noCache asks the database each time.
type noCache struct{}

func (noCache) get(ctx context.Context, _ string, load loadFunc) (origin.Row, error) {
	return load(ctx)
}
func (noCache) close() error { return nil }

// memoryCache is the memory of one process: a map with expiry. Callers that
// miss together load together.
type memoryCache struct {
	ttl time.Duration

	mu   sync.Mutex // protects rows
	rows map[string]kept
}

type kept struct {
	row   origin.Row
	until time.Time
}

func (m *memoryCache) get(ctx context.Context, id string, load loadFunc) (origin.Row, error) {
	m.mu.Lock()
	k, ok := m.rows[id]
	m.mu.Unlock()
	if ok && time.Now().Before(k.until) {
		return k.row, nil
	}
	r, err := load(ctx)
	if err != nil {
		return r, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[id] = kept{r, time.Now().Add(m.ttl)}
	return r, nil
}

func (m *memoryCache) close() error { return nil }

// redisCache is what one writes without a library: Redis behind memory that is
// told of changes, and one load at a time in each process.
type redisCache struct {
	client  rueidis.Client
	ttl     time.Duration
	prefix  string
	flights singleflight.Group
}

func (c *redisCache) get(ctx context.Context, id string, load loadFunc) (origin.Row, error) {
	key := c.prefix + ":" + id
	b, err := c.client.DoCache(ctx, c.client.B().Get().Key(key).Cache(), c.ttl).AsBytes()
	if err == nil {
		return decode(b)
	}
	if !rueidis.IsRedisNil(err) {
		return origin.Row{}, fmt.Errorf("steps: get %q: %w", key, err)
	}
	v, err, _ := c.flights.Do(id, func() (any, error) {
		r, err := load(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		set := c.client.B().Set().Key(key).Value(rueidis.BinaryString(b)).Px(c.ttl).Build()
		return r, c.client.Do(context.WithoutCancel(ctx), set).Error()
	})
	if err != nil {
		return origin.Row{}, err
	}
	return v.(origin.Row), nil
}

func decode(b []byte) (r origin.Row, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("steps: decode: %w", err)
	}
	return r, nil
}

func (c *redisCache) close() error {
	c.client.Close()
	return nil
}

// fleetCache is fleetcache with the features of a step.
type fleetCache struct {
	manager *rc.Manager
	rows    *rc.CacheService[origin.Row]
}

func openFleet(ctx context.Context, a openArgs) (*fleetCache, error) {
	m, err := rc.Open(ctx, "redis://"+strings.Join(a.Addrs, ","), rc.Options{Prefix: a.Prefix, OpTimeout: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	rows, err := rc.New(m, "products", a.Step.config(a.TTL))
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return &fleetCache{m, rows}, nil
}

// config is the Config of a step: what it does not add is off.
func (s step) config(ttl time.Duration) rc.Config[origin.Row] {
	cfg := rc.Config[origin.Row]{
		TTL: ttl, Jitter: rc.Off, EarlyBeta: rc.Off, ErrorBackoff: rc.Off, SoftTimeout: rc.Off,
		StaleFor: s.StaleFor, EarlyFraction: s.Early,
	}
	if s.Throttle > 0 {
		cfg.ErrorBackoff = s.Throttle
	}
	if s.Soft > 0 {
		cfg.SoftTimeout = s.Soft
	}
	if s.AtOnce {
		cfg.SoftTimeout = 0
	}
	return cfg
}

func (f *fleetCache) get(ctx context.Context, id string, load loadFunc) (origin.Row, error) {
	return f.rows.GetOrSet(ctx, id, load)
}

func (f *fleetCache) close() error { return f.manager.Close() }
