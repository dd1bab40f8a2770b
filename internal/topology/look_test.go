package topology

import (
	"testing"

	"github.com/fleetcache/fleetcache/internal/hashslot"
)

// view makes owners of the first slots, one per name.
func view(names ...string) *owners {
	o := new(owners)
	copy(o[:], names)
	return o
}

func claimed(view *owners, addr string) *claimSet {
	c := new(claimSet)
	for s := range view {
		if view[s] == addr {
			c[s/64] |= 1 << (s % 64)
		}
	}
	return c
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cur    *owners
		views  map[string]*owners // what each says now
		before map[string]*owners // what each said before
		want   *owners
	}{
		"first look": {
			cur:   view(),
			views: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:  view("a", "b"),
		},
		"one of two does not answer at the first look": {
			cur:   view(),
			views: map[string]*owners{"a": view("a", "b")},
			want:  view("a", "b"),
		},
		"nothing changes": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("a", "b"),
		},
		"a slot moves and both know": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"a": view("b", "b"), "b": view("b", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("b", "b"),
		},
		"only the former owner knows yet": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"a": view("b", "b"), "b": view("a", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("b", "b"),
		},
		"only the new owner knows yet": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"a": view("a", "b"), "b": view("b", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("b", "b"),
		},
		"a deposed primary keeps claiming": {
			cur:    view("b", "b"),
			views:  map[string]*owners{"a": view("a", "b"), "b": view("b", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("b", "b")},
			want:   view("b", "b"),
		},
		"gossip of a third is not believed": {
			cur:    view("a", "b", "c"),
			views:  map[string]*owners{"a": view("a", "b", "c"), "b": view("a", "b", "c"), "c": view("b", "b", "c")},
			before: map[string]*owners{"a": view("a", "b", "c"), "b": view("a", "b", "c"), "c": view("a", "b", "c")},
			want:   view("a", "b", "c"),
		},
		"the owner is dead and a replica takes over": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"b": view("a2", "b"), "a2": view("a2", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("a2", "b"),
		},
		"the owner is dead and nobody has taken over": {
			cur:    view("a", "b"),
			views:  map[string]*owners{"b": view("a", "b")},
			before: map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			want:   view("a", "b"),
		},
		"a slot comes back to a former owner": {
			cur:    view("b", "b"),
			views:  map[string]*owners{"a": view("a", "b"), "b": view("a", "b")},
			before: map[string]*owners{"a": view("b", "b"), "b": view("b", "b")},
			want:   view("a", "b"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := map[string]*claimSet{}
			for addr, v := range c.before {
				claims[addr] = claimed(v, addr)
			}
			for range 20 { // the order of the map must not matter
				if got := decide(c.cur, c.views, claims); *got != *c.want {
					t.Fatalf("decide = %q, want %q", got[:3], c.want[:3])
				}
			}
		})
	}
}

func TestOwnKeyIsInItsSlot(t *testing.T) {
	t.Parallel()
	for _, s := range []uint16{0, 1, 5460, 16383} {
		if k := ownKey("cache", s); hashslot.Of(k) != s {
			t.Errorf("ownKey(%d) = %q, which is in slot %d", s, k, hashslot.Of(k))
		}
	}
}
