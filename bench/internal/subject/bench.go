package subject

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// A Bench is the body of a benchmark. It returns what went wrong: outside of
// go test a benchmark that fails says nothing.
type Bench func(b *testing.B) error

// errMiss is the error of a subject that was to hit and did not.
var errMiss = errors.New("a read that should hit did not")

// StartRedis runs a Redis server for a benchmark: without persistence, and, if
// maxMemory is not empty, as a cache of that size. The caller stops it.
func StartRedis(ctx context.Context, maxMemory string) (*localredis.Server, error) {
	return localredis.Start(ctx, localredis.Config{Args: append(unsaved(), evicting(maxMemory)...)})
}

// evicting returns the directives of a server that is a cache of some size.
func evicting(maxMemory string) []string {
	if maxMemory == "" {
		return nil
	}
	return []string{"--maxmemory", maxMemory, "--maxmemory-policy", "allkeys-lru"}
}

// unsaved returns the directives of a server that keeps nothing on disk.
func unsaved() []string { return []string{"--appendonly", "no", "--save", ""} }

// StartCluster runs 3 primaries with some replicas each, without persistence.
// The caller stops them.
func StartCluster(ctx context.Context, f localredis.Flavor, replicas int) (*localredis.Cluster, error) {
	return localredis.StartCluster(ctx, localredis.ClusterConfig{Flavor: f, ReplicasPerPrimary: replicas, Args: unsaved()})
}

// StartCacheCluster runs 3 primaries without replicas, each a cache of some size
// as in [StartRedis]. The caller stops them.
func StartCacheCluster(ctx context.Context, maxMemory string) (*localredis.Cluster, error) {
	return localredis.StartCluster(ctx, localredis.ClusterConfig{Args: append(unsaved(), evicting(maxMemory)...)})
}

// PerCore is how many goroutines per core the throughput benchmarks use: more
// than enough to keep every connection's pipeline full.
const PerCore = 64

// Serial runs op in one goroutine. The call of op is part of what it measures,
// so it is for work that takes microseconds.
func Serial(op func(i int) error) Bench {
	return func(b *testing.B) (err error) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if e := op(i); e != nil && err == nil {
				err = e
			}
			i++
		}
		return err
	}
}

// Parallel runs op in perCore goroutines per core, each with numbers of its
// own. Like Serial it is for work that takes microseconds.
func Parallel(perCore int, op func(i int) error) Bench {
	return func(b *testing.B) error {
		var failed atomic.Pointer[error]
		b.ReportAllocs()
		b.SetParallelism(perCore)
		b.RunParallel(func(pb *testing.PB) {
			// Random starts: goroutines that walked in step would ask for
			// the same keys at the same time, and share the answers.
			i := rand.IntN(1 << 30)
			for pb.Next() {
				if err := op(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
				i += 7
			}
		})
		if p := failed.Load(); p != nil {
			return *p
		}
		return nil
	}
}

// awaitHits calls get for every identifier until none of them misses: what was
// read before the first beat of a connection was answered is not kept.
func awaitHits(ids []string, get func(id string) (hit bool, err error)) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		misses := 0
		for _, id := range ids {
			hit, err := get(id)
			if err != nil {
				return err
			}
			if !hit {
				misses++
			}
		}
		if misses == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d identifiers still miss after 10s", misses, len(ids))
		}
	}
}
