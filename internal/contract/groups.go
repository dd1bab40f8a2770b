package contract

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// tagged gives every value the tags "all" and its own text.
func tagged() rc.Config[string] {
	return rc.Config[string]{StaleFor: time.Minute, ErrorBackoff: rc.Off, Tags: func(_, v string) []string { return []string{"all", "is-" + v} }}
}

// Every verb that reaches more than one key reaches the other instance, and its
// loads in flight cannot store what they read before.
func contractGroups(t *testing.T, e Env) {
	for _, v := range []struct {
		name string
		soft bool
		do   func(context.Context, *pair) error
	}{
		{"InvalidateTag", false, func(ctx context.Context, p *pair) error { return p.ma.InvalidateTag(ctx, "all") }},
		{"ExpireTag", true, func(ctx context.Context, p *pair) error { return p.ma.ExpireTag(ctx, "is-1") }},
		{"Clear", false, func(ctx context.Context, p *pair) error { return p.a.Clear(ctx) }},
		{"ExpireAll", true, func(ctx context.Context, p *pair) error { return p.a.ExpireAll(ctx) }},
		{"InvalidatePattern", false, func(ctx context.Context, p *pair) error {
			n, err := p.a.InvalidatePattern(ctx, "i*")
			if err == nil && n != 1 {
				t.Errorf("InvalidatePattern = %d, want 1", n)
			}
			return err
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			p := newPair(t, e, tagged())
			ctx := t.Context()
			p.must(p.b.Set(ctx, "id", "1"))
			p.eventually(p.a, "id", "1")
			loading, goOn := make(chan struct{}), make(chan struct{})
			loaded := make(chan error, 1)
			go func() {
				_, err := p.b.GetOrSet(ctx, "in-flight", func(context.Context) (string, error) {
					close(loading)
					<-goOn
					return "1", nil
				})
				loaded <- err
			}()
			<-loading
			p.must(v.do(ctx, p))
			if it, err := p.a.Lookup(ctx, "id"); err != nil || it.Found && !it.Stale {
				t.Errorf("Lookup by the one who called = %+v, %v, want nothing fresh", it, err)
			}
			waitFor(t, "the other instance to be told", func() bool {
				it, err := p.b.Lookup(ctx, "id")
				return err == nil && (!it.Found || it.Stale)
			})
			close(goOn)
			if err := <-loaded; err != nil {
				t.Errorf("a load in flight = %v", err)
			}
			// One was told while the load ran, so at the latest now both are.
			if it, err := p.a.Lookup(ctx, "in-flight"); err != nil || it.Found && !it.Stale {
				t.Errorf("Lookup of what was loaded in between = %+v, %v, want nothing fresh", it, err)
			}
			fails := func(context.Context) (string, error) { return "", errors.New("the source is down") }
			got, err := p.a.GetOrSet(ctx, "id", fails)
			if v.soft != (got == "1" && err == nil) {
				t.Errorf("GetOrSet with a failing loader = %q, %v; the verb keeps the old value: %v", got, err, v.soft)
			}
		})
	}
}

// A tombstone keeps older versions out, and newer ones replace it.
func contractDeleteBefore(t *testing.T, e Env) {
	p := newPair(t, e, rc.Config[string]{Version: func(s string) uint64 { return uint64(len(s)) }})
	ctx := t.Context()
	p.must(p.a.Set(ctx, "id", "22"))
	p.eventually(p.b, "id", "22")
	p.must(p.a.DeleteBefore(ctx, "id", 3))
	p.eventually(p.b, "id", "")
	p.must(p.b.Set(ctx, "id", "22"))
	if v, found, err := p.a.Get(ctx, "id"); found || err != nil {
		t.Errorf("Get = %q, %v: an older version was stored", v, err)
	}
	p.must(p.b.Set(ctx, "id", "333"))
	p.eventually(p.a, "id", "333")
	p.must(p.a.DeleteBefore(ctx, "id", 2))
	if v, _, err := p.a.Get(ctx, "id"); v != "333" || err != nil {
		t.Errorf("Get = %q, %v: a newer version is gone", v, err)
	}
}
