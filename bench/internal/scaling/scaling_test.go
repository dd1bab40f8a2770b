package scaling

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestMain(m *testing.M) {
	if Main() {
		return
	}
	os.Exit(m.Run())
}

// Everything is measured, at every size, and each plot says something.
func TestQuickRunMeasuresEverySize(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	c := Quick
	c.Rounds, c.Instances, c.Keys, c.Bytes, c.Tags = 1, []int{1, 2, 3}, []int{1000, 3000}, []int{100, 4096}, []int{0, 1, 3}
	c.Events, c.Requests, c.Calls = 8, 400, 40
	var parts []string
	c.Log = func(_ string, args ...any) {
		if name, ok := args[0].(string); ok {
			parts = append(parts, name)
		}
	}
	run, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"instances", "keys", "value size", "shards", "tags"}; !slices.Equal(parts, want) {
		t.Errorf("measured %q, want %q", parts, want)
	}
	sizes := map[string][]int{
		"keys": c.Keys, "memory": c.Keys, "size": c.Bytes, "shards-throughput": c.Shards, "shards-calls": c.Shards, "tags": c.Tags,
	}
	if len(run.Plots) != 14 {
		t.Errorf("%d plots, want 14", len(run.Plots))
	}
	for _, p := range run.Plots {
		want, ok := sizes[p.ID]
		if !ok {
			want = c.Instances
		}
		if p.X == "" || p.Y == "" || !strings.Contains(p.Text, " at ") {
			t.Errorf("plot %s: labels %q and %q, text %q", p.ID, p.X, p.Y, p.Text)
		}
		for _, s := range p.Series {
			n := len(want)
			if strings.Contains(s.Name, "all have evicted") || p.ID == "tags" && s.Name == "InvalidateTag" {
				n-- // nobody else, no tag
			}
			if len(s.X) != n || slices.Min(s.Y) <= 0 {
				t.Errorf("plot %s: %s has %v at %v, want %d values above 0", p.ID, s.Name, s.Y, s.X, n)
			}
		}
	}
	if len(run.Text) != 4 || !strings.HasPrefix(run.Server, "Redis ") || len(run.Result) < 6 {
		t.Errorf("text %q, server %q, %s", run.Text, run.Server, run.ResultLine())
	}
}

func TestConfigThatMeasuresNothing(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"Instances": func(c *Config) { c.Instances = []int{1, 4} },
		"Keys":      func(c *Config) { c.Keys = []int{10, 1} },
		"Tags":      func(c *Config) { c.Tags = []int{0, 4} },
		"Rounds":    func(c *Config) { c.Rounds = 0 },
		"Calls":     func(c *Config) { c.Calls = -1 },
	} {
		c := Quick
		change(&c)
		if _, err := Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: Run = %v, want an error that names it", name, err)
		}
	}
}

// A reader that does something else than what is measured is an error, and no
// figure.
func TestOtherThanMeasuredIsAnError(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	ctx := t.Context()
	var end rounds.Closers
	t.Cleanup(func() {
		if err := end.End(nil); err != nil {
			t.Error(err)
		}
	})
	srv, err := start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	end.Add(rounds.Quiet(srv.Stop))
	p, err := openPair(ctx, "redis://"+srv.Addr(), &end)
	if err != nil {
		t.Fatal(err)
	}
	s, err := in(p, "other", config[subject.Product](0), 100)
	if err != nil {
		t.Fatal(err)
	}
	id := func(int) string { return "a" }
	if _, err := s.reads(ctx, 3, serial, id); !errors.Is(err, errLoaded) {
		t.Errorf("reads of nothing: %v, want %v", err, errLoaded)
	}
	if err := s.far.Set(ctx, "a", subject.NewProduct(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fills(ctx, 3, subject.NewProduct(1), id); !errors.Is(err, errOther) {
		t.Errorf("fills of what is there: %v, want %v", err, errOther)
	}
	if _, err := (services[subject.Product]{near: s.far}).hits(ctx, 3, id); !errors.Is(err, errOther) {
		t.Errorf("hits without memory: %v, want %v", err, errOther)
	}
	if err := s.warm(ctx, []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), "b is not there") {
		t.Errorf("warm of what is not there = %v", err)
	}
	if us, err := s.hits(ctx, 100, id); err != nil || us <= 0 {
		t.Errorf("hits after all: %v µs, %v", us, err)
	}
	if err := depends(ctx, p.far, s, 1, "a"); err == nil || !strings.Contains(err.Error(), "does not depend on") {
		t.Errorf("a value without tags: %v", err)
	}
	if err := expect(p.near, "marks", marks, 2, 1, func() error { return p.near.InvalidateTag(ctx, "one") }); !errors.Is(err, errOther) {
		t.Errorf("one mark of two: %v, want %v", err, errOther)
	}
}

// A watcher notices a value that goes, and one that stays.
func TestWatchOfWhatStays(t *testing.T) {
	localredis.Require(t, localredis.Redis)
	srv, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	one := &instance{}
	if err := one.open(t.Context(), openArgs{srv.Addr()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := one.close(); err != nil {
			t.Error(err)
		}
	})
	if err := one.hold(t.Context(), valueArgs{[]string{"x"}, 1}); !errors.Is(err, errGone) {
		t.Errorf("hold of what is not there = %v, want %v", err, errGone)
	}
	if err := one.set(t.Context(), setArgs{IDs: []string{"x"}, N: 1}); err != nil {
		t.Fatal(err)
	}
	if err := one.hold(t.Context(), valueArgs{[]string{"x"}, 1}); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := one.vanish(ended, "x", 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("vanish of a value that stays = %v", err)
	}
	if _, err := one.vanish(t.Context(), "x", 2, nil); err == nil || !strings.Contains(err.Error(), "x is product 1, want 2") {
		t.Errorf("vanish of another value = %v", err)
	}
	if err := one.watch(valueArgs{[]string{"x"}, 1}); err != nil {
		t.Fatal(err)
	}
	s, err := one.invalidate(t.Context(), invalidateArgs{verbTag, []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	if w := <-one.watched; w.err != nil || w.seen.At <= s.Began-int64(patience) || w.seen.At == 0 {
		t.Errorf("the watch ended with %+v", w)
	}
	if _, err := one.invalidate(t.Context(), invalidateArgs{"Burn", []string{"x"}}); err == nil {
		t.Error("a verb that is none was called")
	}
	if m, err := one.mix(t.Context(), mixArgs{Seed: 1, Requests: 100, Keys: 10, Writes: 0.1}); err != nil || m.Reads+m.Writes != 100 || m.Misses == 0 || m.CPU <= 0 || m.Resident <= 0 {
		t.Errorf("mix = %+v, %v", m, err)
	}
}
