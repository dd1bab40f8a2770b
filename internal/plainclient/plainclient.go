// Package plainclient makes the rueidis clients of those who keep nothing in
// memory: without cache, replicas and retries, one connection per node.
package plainclient

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

const (
	// refreshInterval is how often a client looks at the topology of a cluster,
	// unless the options say otherwise: a killed primary's successor is to be
	// known soon.
	refreshInterval = time.Second
	// connectTimeout limits the making of a connection, unless the options do.
	connectTimeout = time.Second
)

// Option makes the options of a plain client from those of any client of the
// deployment. One connection per node keeps what is sent to it in order.
// opTimeout is how long an operation may take.
func Option(opt rueidis.ClientOption, opTimeout time.Duration) rueidis.ClientOption {
	opt.DisableCache = true
	opt.DisableRetry = true // the caller decides what is worth sending again
	opt.NewCacheStoreFn = nil
	opt.OnInvalidations = nil
	opt.ClientTrackingOptions = nil
	opt.SendToReplicas = nil
	opt.ReplicaSelector = nil
	opt.ReadNodeSelector = nil
	opt.ReplicaOnly = false
	opt.EnableReplicaAZInfo = false
	opt.Standalone = rueidis.StandaloneOption{}
	opt.PipelineMultiplex = -1
	opt.ConnLifetime = 0
	opt.BlockingPoolSize = 0
	opt.BlockingPoolMinSize = 0
	if opt.Dialer.Timeout == 0 {
		opt.Dialer.Timeout = connectTimeout
	}
	if opt.ConnWriteTimeout == 0 { // also ends round trips of connections with few of them
		opt.ConnWriteTimeout = max(connectTimeout, 2*opTimeout)
	}
	if opt.ClusterOption.ShardsRefreshInterval == 0 {
		opt.ClusterOption.ShardsRefreshInterval = refreshInterval
	}
	return opt
}

// Connect makes a client, or returns when ctx ends: rueidis.NewClient takes no
// context.
func Connect(ctx context.Context, opt rueidis.ClientOption) (rueidis.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		client rueidis.Client
		err    error
	}
	made := make(chan result, 1)
	go func() { // ends by the timeouts of the options
		c, err := rueidis.NewClient(opt)
		if err != nil && c != nil {
			c.Close()
		}
		made <- result{c, err}
	}()
	select {
	case r := <-made:
		return r.client, r.err
	case <-ctx.Done():
		go func() { // ends with the one above
			if r := <-made; r.err == nil {
				r.client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}
