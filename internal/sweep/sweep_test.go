package sweep

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/fakeredis"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/topology"
)

var million = flag.Bool("million", false, "sweep a million keys and say how long it takes")

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  Options
		want string
	}{
		{"no pattern", Options{}, "Match is empty"},
		{"negative count", Options{Match: "*", Count: -1}, "Count is -1"},
		{"large batch", Options{Match: "*", Batch: MaxBatch + 1}, "Batch is 1025"},
		{"negative timeout", Options{Match: "*", OpTimeout: -1}, "OpTimeout is -1ns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Sweep(t.Context(), nil, c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Sweep = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, f localredis.Flavor) {
		s := localredis.Standalone(t, f)
		client := newClient(t, s.Addr())
		fill(t, client, "a:", 5000)
		fill(t, client, "b:", 100)
		r, err := Sweep(within(t), client, Options{Match: "a:*", Count: 100, Batch: 7})
		must(t, "Sweep", err)
		if r.Deleted != 5000 || r.Scanned < 5000 || r.Passes != 1 || r.Resweeps != 0 {
			t.Errorf("Result = %+v, want 5000 deleted in one pass", r)
		}
		wantLeft(t, "a:*", 0, s)
		wantLeft(t, "b:*", 100, s)
	})
}

// TestFake: the server that users test with knows enough commands.
func TestFake(t *testing.T) {
	t.Parallel()
	fake := fakeredis.New()
	t.Cleanup(fake.Close)
	opt := fake.ClientOption()
	opt.DisableCache = true
	client, err := rueidis.NewClient(opt)
	must(t, "NewClient", err)
	t.Cleanup(client.Close)
	fill(t, client, "a:", 600)
	fill(t, client, "b:", 3)
	r, err := Sweep(within(t), client, Options{Match: "a:*"})
	must(t, "Sweep", err)
	if r.Deleted != 600 {
		t.Errorf("Deleted = %d, want 600", r.Deleted)
	}
	n, err := client.Do(within(t), client.B().Dbsize().Build()).AsInt64()
	if err != nil || n != 3 {
		t.Errorf("%d keys are left (%v), want 3", n, err)
	}
}

func TestCluster(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		const n = 50_000
		fill(t, client, "a:", n)
		fill(t, client, "b:", 500)
		var last int64
		r, err := Sweep(within(t), client, Options{Match: "a:*", Progress: func(deleted, scanned int64) {
			if deleted < last || deleted > scanned {
				t.Errorf("Progress(%d, %d) after %d", deleted, scanned, last)
			}
			last = deleted
		}})
		must(t, "Sweep", err)
		if r.Deleted != n || r.Passes != 1 || r.Resweeps != 0 {
			t.Errorf("Result = %+v, want %d deleted in one pass", r, n)
		}
		if last != n {
			t.Errorf("the last Progress said %d, want %d", last, n)
		}
		wantLeft(t, "a:*", 0, c.Nodes()[:3]...)
		wantLeft(t, "b:*", 500, c.Nodes()[:3]...)
	})
}

// TestPatterns: what is deleted is what the pattern means, whether keys are
// found by SCAN or slot by slot.
func TestPatterns(t *testing.T) {
	names := []string{
		"k", "k*", "k?", "kx", "kxy", "k[a]", "ka", "kb", `k\`, `k\*`, "K", "k{t}", "k{t}:l", "k{u}", "", "\x00k", "k\xff", "k\n",
	}
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		for _, pattern := range []string{
			"k", "k*", `k\*`, "k?", `k\?`, "k[ab]", `k\[a\]`, "k[^a]", `k\\`, "*l", "*", "nothing*", "k{t}*", "k\xff",
		} {
			var want []string
			fillNames(t, client, names)
			for _, name := range names {
				if !key.MatchGlob(pattern, name) {
					want = append(want, name)
				}
			}
			slices.Sort(want)
			s := newSweeper(client, mustDefaults(t, Options{Match: pattern}))
			must(t, "pass", s.run(within(t)))
			if got := keysOf(t, "*", c.Nodes()[:3]...); !slices.Equal(got, want) {
				t.Errorf("%q by SCAN: %q left, want %q", pattern, got, want)
			}
			fillNames(t, client, names)
			v, err := s.look(within(t))
			must(t, "look", err)
			for _, slots := range byParts(allSlots(), listSlots/2) {
				if failed, err := s.sweepSlots(within(t), v, slots); err != nil || len(failed) > 0 {
					t.Fatalf("sweepSlots = %v, %v", failed, err)
				}
			}
			if got := keysOf(t, "*", c.Nodes()[:3]...); !slices.Equal(got, want) {
				t.Errorf("%q by slot: %q left, want %q", pattern, got, want)
			}
		}
	})
}

// byParts splits a set into sets of n slots.
func byParts(s *slotSet, n int) (parts []*slotSet) {
	part := new(slotSet)
	for slot := range s.all() {
		if part.add(slot); part.len() == n {
			parts, part = append(parts, part), new(slotSet)
		}
	}
	return append(parts, part)
}

func mustDefaults(t *testing.T, o Options) Options {
	t.Helper()
	o, err := o.withDefaults()
	must(t, "options", err)
	return o
}

// TestLargeSlot: a slot with more keys than can be listed in one go.
func TestLargeSlot(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		const n = listKeys + 100
		fill(t, client, "{tag}a:", n)
		fill(t, client, "{tag}b:", 10)
		fill(t, client, "other", 10)
		s := newSweeper(client, mustDefaults(t, Options{Match: "{tag}a:*"}))
		v, err := s.look(within(t))
		must(t, "look", err)
		slots := new(slotSet)
		slots.add(uint16(localredis.Slot("{tag}")))
		failed, err := s.sweepSlots(within(t), v, slots)
		if err != nil || len(failed) > 0 || s.result().Deleted != n {
			t.Errorf("sweepSlots = %v, %v with %d deleted, want %d", failed, err, s.result().Deleted, n)
		}
		wantLeft(t, "*", 20, c.Nodes()[:3]...)
	})
}

func TestKeep(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		fill(t, client, "a:", 3000)
		var mu sync.Mutex
		asked := map[string]bool{}
		r, err := Sweep(within(t), client, Options{Match: "a:*", Keep: func(k string) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[k] = true
			return strings.HasSuffix(k, "7")
		}})
		must(t, "Sweep", err)
		if len(asked) != 3000 || r.Deleted != 300 || r.Scanned < 3000 {
			t.Errorf("asked about %d, Result %+v, want 3000 asked and 300 deleted", len(asked), r)
		}
		wantLeft(t, "a:*7", 0, c.Nodes()[:3]...)
		wantLeft(t, "a:*", 2700, c.Nodes()[:3]...)
	})
}

// TestFirst: on each node the keys of First are gone before a key that matches
// is looked for, by SCAN and slot by slot, and they are not counted.
func TestFirst(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		const n = 3000
		for _, parts := range []int{slotCount, listSlots / 2} {
			fill(t, client, "a:", n)
			fill(t, client, "a:l:", n)
			fill(t, client, "b:l:", 100)
			var once [3]sync.Once
			firsts := func(k string) bool { return !strings.HasSuffix(k, "7") }
			s := newSweeper(client, mustDefaults(t, Options{
				First: "a:l:*", FirstKeep: firsts, Match: "a:*", Count: 100, Batch: 20,
				Keep: func(k string) bool {
					node := int(slotOf(k)) * 3 / slotCount
					once[node].Do(func() {
						for _, left := range keysOf(t, "a:l:*", c.Nodes()[node]) {
							if parts == slotCount && firsts(left) {
								t.Errorf("%q is left when the others are looked for", left)
								return
							}
						}
					})
					return !strings.HasPrefix(k, "a:l:")
				},
			}))
			v, err := s.look(within(t))
			must(t, "look", err)
			for _, slots := range byParts(allSlots(), parts) {
				if failed, err := s.sweepSlots(within(t), v, slots); err != nil || len(failed) > 0 {
					t.Fatalf("sweepSlots = %v, %v", failed, err)
				}
			}
			if r := s.result(); r.Deleted != n || r.Scanned < n {
				t.Errorf("Result = %+v, want %d deleted", r, n)
			}
			wantLeft(t, "a:l:*", n/10, c.Nodes()[:3]...)
			wantLeft(t, "a:*", n/10, c.Nodes()[:3]...)
			wantLeft(t, "b:l:*", 100, c.Nodes()[:3]...)
		}
	})
}

func TestCancel(t *testing.T) {
	onClusters(t, func(t *testing.T, c *localredis.Cluster, client rueidis.Client) {
		fill(t, client, "a:", 20_000)
		ctx, cancel := context.WithCancel(within(t))
		r, err := Sweep(ctx, client, Options{Match: "a:*", Count: 10, Batch: 10, Progress: func(deleted, _ int64) {
			if deleted > 100 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "keys deleted of") {
			t.Errorf("Sweep = %v, want that it was canceled and how far it came", err)
		}
		left := len(keysOf(t, "a:*", c.Nodes()[:3]...))
		if r.Deleted < 100 || left == 0 || int(r.Deleted) > 20_000-left {
			t.Errorf("Deleted = %d with %d of 20000 left", r.Deleted, left)
		}
	})
}

// TestPanickingProgress: the panic is the caller's, and nothing goes on behind
// it.
func TestPanickingProgress(t *testing.T) {
	t.Parallel()
	client := newClient(t, localredis.Standalone(t, localredis.Redis).Addr())
	fill(t, client, "a:", 100)
	defer func() {
		if got := recover(); got != "mine" {
			t.Errorf("recovered %v, want the panic of Progress", got)
		}
	}()
	_, err := Sweep(within(t), client, Options{Match: "a:*", Progress: func(_, _ int64) { panic("mine") }})
	t.Errorf("Sweep returned %v", err)
}

// TestRefused: what will never work ends the sweep at once, and names the node.
func TestRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, f localredis.Flavor) {
		s := localredis.Standalone(t, f)
		client := newClient(t, s.Addr())
		fill(t, client, "a:", 100)
		for _, command := range []string{"scan", "unlink"} {
			_, err := s.Do(within(t), "ACL", "SETUSER", "default", "-"+command)
			must(t, "ACL", err)
			_, err = Sweep(within(t), client, Options{Match: "a:*"})
			var ne *topology.NodeError
			if !errors.As(err, &ne) || ne.Node != s.Addr() || !strings.Contains(err.Error(), "NOPERM") ||
				errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Sweep without %s = %v, want NOPERM of %s", command, err, s.Addr())
			}
			_, err = s.Do(within(t), "ACL", "SETUSER", "default", "+"+command)
			must(t, "ACL", err)
		}
	})
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	client := newClient(t, localredis.Standalone(t, localredis.Redis).Addr())
	client.Close()
	if _, err := Sweep(within(t), client, Options{Match: "*"}); !errors.Is(err, rueidis.ErrClosing) {
		t.Errorf("Sweep = %v, want %v", err, rueidis.ErrClosing)
	}
}

// TestMillion measures. Run it with -million.
func TestMillion(t *testing.T) {
	if !*million {
		t.Skip("without -million")
	}
	for _, f := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(f), func(t *testing.T) {
			c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: f})
			client := newClient(t, c.Addrs()...)
			const n = 1_000_000
			fill(t, client, "cache:v1:product:", n)
			began := time.Now()
			r, err := Sweep(within(t), client, Options{Match: "cache:v1:product:*"})
			must(t, "Sweep", err)
			t.Logf("%s: %+v in %v", f, r, time.Since(began).Round(time.Millisecond))
			if r.Deleted != n {
				t.Errorf("Deleted = %d, want %d", r.Deleted, n)
			}
			wantLeft(t, "*", 0, c.Nodes()[:3]...)
		})
	}
}
