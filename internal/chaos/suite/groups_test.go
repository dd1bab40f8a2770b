//go:build unix

package suite

import (
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// TestGroups: every kind is there, on every shard; keys and tokens are where they
// are said to be; and a value has the tags of all groups that it is in.
func TestGroups(t *testing.T) {
	const shards = 3
	base := makeKeys("p1", shards, false)
	keys, groups := makeGroups("p1", shards, base)
	kinds, tokens := map[history.GroupKind]int{}, map[int]int{}
	apart := 0
	for _, g := range groups {
		kinds[g.Kind]++
		if len(g.Keys) == 0 {
			t.Errorf("group %q has no keys", g.Name)
		}
		if (g.Kind != history.GroupTag) != (g.Shard < 0) || g.Shard >= shards {
			t.Errorf("group %q is on shard %d", g.Name, g.Shard)
		}
		if g.Shard >= 0 {
			tokens[g.Shard]++
		}
		for _, n := range g.Keys {
			k := keys[n]
			if n < len(base) {
				t.Errorf("%q of no group's class is in group %q", k.ID, g.Name)
			}
			if k.Shard != g.Shard {
				apart++
			}
			if g.Kind == history.GroupPattern && !key.MatchGlob(g.Name, k.ID) {
				t.Errorf("pattern %q does not match %q", g.Name, k.ID)
			}
			if g.Kind == history.GroupTag && !has(k, g.Name) {
				t.Errorf("%q does not have tag %q: %v and %v", k.ID, g.Name, k.Tags, k.Added)
			}
		}
	}
	if kinds[history.GroupTag] < 20 || kinds[history.GroupNamespace] != shards || kinds[history.GroupPattern] != 2 || len(tokens) != shards {
		t.Errorf("groups by kind %v, tokens by shard %v", kinds, tokens)
	}
	if apart == 0 {
		t.Error("every token is on the shard of its values")
	}
	for _, k := range keys {
		if k.Slot != redisnode.Slot("{"+k.ID+"}") {
			t.Errorf("%q is not in slot %d", k.ID, k.Slot)
		}
	}
}

// has reports whether values of a key have a tag.
func has(k history.Key, tag string) bool {
	for _, tags := range [][]string{k.Tags, k.Added} {
		for _, t := range tags {
			if t == tag {
				return true
			}
		}
	}
	return false
}
