package subject

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/invalidation"
)

// BusBytes is what an event costs on the cluster bus.
type BusBytes struct {
	// Stranger is the bytes that a primary which has nothing to do with the
	// event reads for it, Replica those of the replica of the one that
	// publishes it. What they read without events is taken off.
	Stranger, Replica float64
}

// MeasureBusBytes publishes n events of one partition, to which nobody listens
// but the publisher. The cluster must have replicas, and the machine a /proc.
func MeasureBusBytes(ctx context.Context, c *localredis.Cluster, mode invalidation.Mode, n int) (out BusBytes, err error) {
	bus, err := OpenBus(ctx, c.Addrs(), mode)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	owner, err := publisherOf(ctx, c, bus)
	if err != nil {
		return out, err
	}
	stranger, err := otherPrimary(ctx, c, owner)
	if err != nil {
		return out, err
	}
	replicas, err := c.ReplicasOf(ctx, owner)
	if err != nil {
		return out, err
	}
	if len(replicas) == 0 {
		return out, errors.New("the cluster has no replicas")
	}
	read := func(s *localredis.Server) (per float64, err error) {
		return perEvent(ctx, bus, s, n)
	}
	if out.Stranger, err = read(stranger); err != nil {
		return out, err
	}
	out.Replica, err = read(replicas[0])
	return out, err
}

// perEvent publishes n events, then waits for as long as that took, and returns
// how many bytes more a server has read for each event.
func perEvent(ctx context.Context, bus *invalidation.Bus, s *localredis.Server, n int) (float64, error) {
	var at [3]int64
	var took time.Duration
	for i := range at {
		var err error
		if at[i], err = bytesRead(s); err != nil {
			return 0, err
		}
		switch i {
		case 0:
			began := time.Now()
			for range n {
				if _, err := bus.Publish(ctx, anEvent(0)); err != nil {
					return 0, err
				}
			}
			took = time.Since(began)
		case 1:
			time.Sleep(took) // what the server reads of itself meanwhile
		}
	}
	return float64((at[1]-at[0])-(at[2]-at[1])) / float64(n), nil
}

// publisherOf returns the primary that has the partition of anEvent(0): the one
// whose count of commands goes up with it.
func publisherOf(ctx context.Context, c *localredis.Cluster, bus *invalidation.Bus) (*localredis.Server, error) {
	const calls = 50
	before, err := scriptCalls(ctx, c)
	if err != nil {
		return nil, err
	}
	for range calls {
		if _, err := bus.Publish(ctx, anEvent(0)); err != nil {
			return nil, err
		}
	}
	after, err := scriptCalls(ctx, c)
	if err != nil {
		return nil, err
	}
	for s, n := range after {
		if n-before[s] >= calls {
			return s, nil
		}
	}
	return nil, errors.New("no node has run the script that publishes")
}

// scriptCalls returns how many scripts each node has run for clients.
func scriptCalls(ctx context.Context, c *localredis.Cluster) (map[*localredis.Server]int64, error) {
	out := map[*localredis.Server]int64{}
	for _, s := range c.Nodes() {
		reply, err := s.Do(ctx, "INFO", "commandstats")
		if err != nil {
			return nil, err
		}
		text, _ := reply.(string)
		for line := range strings.Lines(text) {
			v, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls=")
			if !ok {
				continue
			}
			v, _, _ = strings.Cut(v, ",")
			if out[s], err = strconv.ParseInt(v, 10, 64); err != nil {
				return nil, fmt.Errorf("INFO commandstats: %w", err)
			}
		}
	}
	return out, nil
}

// otherPrimary returns a primary that is not the given one.
func otherPrimary(ctx context.Context, c *localredis.Cluster, not *localredis.Server) (*localredis.Server, error) {
	for slot := 0; slot < localredis.SlotCount; slot += localredis.SlotCount / 16 {
		s, err := c.PrimaryOf(ctx, slot)
		if err != nil {
			return nil, err
		}
		if s != not {
			return s, nil
		}
	}
	return nil, errors.New("the cluster has one primary")
}

// bytesRead returns how many bytes a server has read, from sockets and files.
func bytesRead(s *localredis.Server) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", s.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "rchar: "); ok {
			return strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		}
	}
	return 0, fmt.Errorf("no rchar in /proc/%d/io", s.Pid())
}
