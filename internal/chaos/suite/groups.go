package suite

import (
	"fmt"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/redisnode"
	"github.com/fleetcache/fleetcache/rc"
)

// groupMaker makes the keys of a phase that have tags, namespaces and patterns
// in common. The token of a group is mostly on another shard than its keys.
type groupMaker struct {
	prefix string // of the phase
	shards int
	keys   []history.Key
	groups []history.Group
	byName map[string]int // index in groups, of tags
}

// makeGroups adds the keys of groups to those of a phase.
func makeGroups(prefix string, shards int, keys []history.Key) ([]history.Key, []history.Group) {
	g := &groupMaker{prefix: prefix, shards: shards, keys: keys, byName: map[string]int{}}
	for s := range shards {
		for t := range shards {
			g.tagged(history.ClassTagFast, s, t, s+t)
		}
	}
	const slow = 4 // tags per shard
	for i := range slow * shards {
		for n := range 2 {
			g.tagged(history.ClassTagSlow, (i+1+n)%shards, i, 1+n)
		}
	}
	for s := range shards {
		k := g.key(history.ClassTagSet, "", s)
		tag := g.tag(fmt.Sprint("own", s), (s+1)%shards)
		g.keys[k].Tags = []string{tag}
		g.join(history.GroupTag, tag, tagSlot(tag), k, false)
		g.key(history.ClassBefore, "", s)
		g.space(s)
		for i := range 3 {
			g.rare(s, i)
		}
	}
	for i := range 2 {
		g.pattern(i)
	}
	return g.keys, g.groups
}

// key adds a key on a shard, and returns its number.
func (g *groupMaker) key(class history.Class, more string, shard int) int {
	name := fmt.Sprintf("%s-%s%s-%d", g.prefix, class, more, len(g.keys))
	g.keys = append(g.keys, makeKey(name, class, shard%g.shards, g.shards))
	return len(g.keys) - 1
}

// tagged adds a key with tag t of its class, which its values get in one of
// three ways: from Config.Tags; from the loader; or from Config.Tags, while the
// loader adds another one and the combination of both.
func (g *groupMaker) tagged(class history.Class, shard, t, way int) {
	n := g.key(class, "", shard)
	k, slow := &g.keys[n], class == history.ClassTagSlow
	tag := g.tag(fmt.Sprintf("%s%d", class, t), t%g.shards)
	switch way % 3 {
	case 0:
		k.Tags = []string{tag}
	case 1:
		k.Added = []string{tag}
	case 2:
		other := g.tag(fmt.Sprintf("%s%d-other", class, t), (t+1)%g.shards)
		k.Tags, k.Added = []string{tag}, []string{other, rc.AllOf(tag, other)}
	}
	for _, tags := range [][]string{k.Tags, k.Added} {
		for _, tag := range tags {
			g.join(history.GroupTag, tag, tagSlot(tag), n, slow)
		}
	}
}

// rare adds a rare tag on a shard, with a key there and one elsewhere. A failover
// can bring back the value of the first together with the token.
func (g *groupMaker) rare(shard, i int) {
	tag := g.tag(fmt.Sprintf("rare%d-%d", shard, i), shard)
	for i := range 2 {
		n := g.key(history.ClassTagSlow, "-rare", shard+i)
		g.keys[n].Tags = []string{tag}
		g.join(history.GroupTag, tag, tagSlot(tag), n, true)
	}
	g.groups[g.byName[tag]].Rare = true
}

// space adds a namespace with keys on two shards; its tokens are on theirs. The
// first is invalidated all the time.
func (g *groupMaker) space(shard int) {
	name := fmt.Sprintf("space%d", shard)
	for i := range 2 {
		g.join(history.GroupNamespace, name, -1, g.key(history.ClassSpace, fmt.Sprint(shard), shard+1+i), shard > 0)
	}
}

// pattern adds a pattern, with a key on each shard. The second is invalidated
// seldom.
func (g *groupMaker) pattern(i int) {
	more := fmt.Sprintf("-%c", 'a'+i)
	for s := range g.shards {
		g.join(history.GroupPattern, fmt.Sprintf("%s-%s%s-*", g.prefix, history.ClassPattern, more), -1, g.key(history.ClassPattern, more, s), i > 0)
	}
}

// join makes a key one of a group, and the group if it is the first.
func (g *groupMaker) join(kind history.GroupKind, name string, slot, n int, slow bool) {
	i, ok := g.byName[name]
	if !ok {
		i = len(g.groups)
		g.byName[name] = i
		shard := -1
		if slot >= 0 {
			shard = g.shardOf(slot)
		}
		g.groups = append(g.groups, history.Group{Name: name, Kind: kind, Shard: shard, Slot: slot, Slow: slow})
	}
	g.groups[i].Keys = append(g.groups[i].Keys, n)
}

// tag returns a tag whose token is on a shard.
func (g *groupMaker) tag(name string, shard int) string {
	for n := 0; ; n++ {
		tag := fmt.Sprintf("%s-%s-%d", g.prefix, name, n)
		if g.shardOf(tagSlot(tag)) == shard {
			return tag
		}
	}
}

func tagSlot(tag string) int { return redisnode.Slot(key.TagKey("", tag)) }

// shardOf returns the shard that had a slot when the cluster was formed.
func (g *groupMaker) shardOf(slot int) int {
	shard := 0
	for shard+1 < g.shards && slot >= layout.FirstSlot(shard+1, g.shards) {
		shard++
	}
	return shard
}
