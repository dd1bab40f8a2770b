package rc_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

type user struct {
	ID   int
	Name string
}

func TestSmoke(t *testing.T) {
	s := localredis.Standalone(t, localredis.Redis)
	m, err := rc.Open(t.Context(), "redis://"+s.Addr(), rc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m2, err := rc.Open(t.Context(), "redis://"+s.Addr(), rc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	smoke(t, m, m2)
}
func TestSmokeCluster(t *testing.T) {
	c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: localredis.Redis, Primaries: 3, ReplicasPerPrimary: 0})
	url := "redis://" + c.Addrs()[0] + "," + c.Addrs()[1]
	m, err := rc.Open(t.Context(), url, rc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m2, err := rc.Open(t.Context(), url, rc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m2.Close()
	smoke(t, m, m2)
}

func smoke(t *testing.T, m, m2 *rc.Manager) {
	ctx := t.Context()
	us, err := rc.New(m, "users", rc.Config[user]{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	us2, _ := rc.New(m2, "users", rc.Config[user]{TTL: time.Minute})
	var n int
	var mu sync.Mutex
	load := func(ctx context.Context) (user, error) {
		mu.Lock()
		n++
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		return user{1, "ann"}, nil
	}
	for i := range 5 {
		n = 0
		id := fmt.Sprint("id", i)
		var wg sync.WaitGroup
		st := time.Now()
		for range 100 {
			for _, s := range []*rc.CacheService[user]{us, us2} {
				wg.Go(func() {
					v, err := s.GetOrSet(ctx, id, load)
					if err != nil || v.Name != "ann" {
						t.Error(v, err)
					}
				})
			}
		}
		wg.Wait()
		t.Log("loads", n, time.Since(st))
		it, err := us.Lookup(ctx, id)
		t.Logf("%+v %v", it, err)
		it, err = us2.Lookup(ctx, id)
		t.Logf("%+v %v", it, err)
		it, err = us2.Lookup(ctx, id)
		t.Logf("%+v %v", it, err)
		if err := us.Set(ctx, id, user{2, "bob"}); err != nil {
			t.Error(err)
		}
		it, err = us.Lookup(ctx, id)
		t.Logf("%+v %v", it, err)
		it, err = us2.Lookup(ctx, id)
		t.Logf("%+v %v", it, err)
	}
	r, err := us.GetOrSetMany(ctx, []string{"a", "b", "id1", "a"}, func(ctx context.Context, ids []string) (map[string]user, error) {
		t.Log("load", ids)
		return map[string]user{"a": {3, "a"}}, nil
	})
	t.Log(r, err)
	t.Logf("%+v", m.Stats())
	t.Logf("%+v", m.Health())
}
