package contract_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/contract"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

func TestContract(t *testing.T) {
	t.Run("rctest", func(t *testing.T) { contract.Run(t, fakeEnv(t)) })
	t.Run("redis", func(t *testing.T) {
		contract.Run(t, urlEnv(t, "redis://"+localredis.Standalone(t, localredis.Redis).Addr()))
	})
	t.Run("valkey", func(t *testing.T) {
		contract.Run(t, urlEnv(t, "redis://"+localredis.Standalone(t, localredis.Valkey).Addr()))
	})
	t.Run("cluster", func(t *testing.T) {
		c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis, Primaries: 3})
		contract.Run(t, urlEnv(t, "redis://"+strings.Join(c.Addrs(), ",")))
	})
	t.Run("valkey-cluster", func(t *testing.T) {
		c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Valkey, Primaries: 3})
		contract.Run(t, urlEnv(t, "redis://"+c.Addrs()[0]))
	})
	t.Run("broadcast", func(t *testing.T) {
		t.Run("rctest", func(t *testing.T) { contract.Run(t, broadcast(fakeEnv(t))) })
		for _, flavor := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
			t.Run(string(flavor), func(t *testing.T) {
				if testing.Short() && flavor == localredis.Redis {
					t.Skip("the other server, without -short only")
				}
				contract.Run(t, broadcast(urlEnv(t, "redis://"+localredis.Standalone(t, flavor).Addr())))
			})
			t.Run(string(flavor)+"-cluster", func(t *testing.T) {
				if testing.Short() && flavor == localredis.Valkey {
					t.Skip("the other server, without -short only")
				}
				c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: flavor, Primaries: 3})
				contract.Run(t, broadcast(urlEnv(t, "redis://"+c.Addrs()[0])))
			})
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		s := localredis.NewSentinel(t, localredis.SentinelConfig{Flavor: localredis.Redis, Replicas: 1})
		contract.Run(t, urlEnv(t, "redis://"+strings.Join(s.Addrs(), ",")+"?master_set="+s.MasterName))
	})
}

func fakeEnv(t *testing.T) contract.Env {
	srv := rctest.Start()
	t.Cleanup(srv.Close)
	return contract.Env{
		Open: func(t *testing.T, o rc.Options) *rc.Manager {
			return opened(t)(srv.Open(t.Context(), o))
		},
		Do: func(t *testing.T, _ string, args ...string) {
			if _, err := srv.Do(args...); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// broadcast is a deployment whose instances tell each other of changes.
func broadcast(e contract.Env) contract.Env {
	open := e.Open
	e.Announced = true
	e.Open = func(t *testing.T, o rc.Options) *rc.Manager {
		t.Helper()
		o.Coherence = rc.Broadcast
		return open(t, o)
	}
	return e
}

func opened(t *testing.T) func(*rc.Manager, error) *rc.Manager {
	return func(m *rc.Manager, err error) *rc.Manager {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
}

func urlEnv(t *testing.T, url string) contract.Env {
	m := opened(t)(rc.Open(t.Context(), url, rc.Options{OpTimeout: 10 * time.Second}))
	return contract.Env{
		Open: func(t *testing.T, o rc.Options) *rc.Manager {
			t.Helper()
			return opened(t)(rc.Open(t.Context(), url, o))
		},
		Do: func(t *testing.T, key string, args ...string) {
			t.Helper()
			c := m.Client()
			cmd := c.B().Arbitrary(args[0])
			for _, a := range args[1:] {
				if a == key {
					cmd = cmd.Keys(a)
				} else {
					cmd = cmd.Args(a)
				}
			}
			if err := c.Do(t.Context(), cmd.Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
				t.Fatal(err)
			}
		},
	}
}
