package suite

import (
	"fmt"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/layout"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// perShard is how many keys of each class a phase has on each shard.
var perShard = []struct {
	class history.Class
	n     int
}{
	{history.ClassSet, 1}, {history.ClassDelete, 1}, {history.ClassExpire, 1}, {history.ClassVersioned, 1},
	{history.ClassMany, 2}, {history.ClassQuiet, 2}, {history.ClassNegative, 1},
}

// registers is how many keys a porcupine phase has on each shard.
const registers = 2

// makeKeys returns the keys of a phase, the same number on each shard of a
// cluster as it was formed.
func makeKeys(prefix string, shards int, porcupine bool) (keys []history.Key) {
	add := func(class history.Class, n int) {
		for i := range n * shards {
			keys = append(keys, makeKey(fmt.Sprintf("%s-%s-%d", prefix, class, i), class, i%shards, shards))
		}
	}
	if porcupine {
		add(history.ClassRegister, registers)
		return keys
	}
	for _, c := range perShard {
		add(c.class, c.n)
	}
	return keys
}

// makeKey finds an identifier whose slot belongs to a shard.
func makeKey(name string, class history.Class, shard, shards int) history.Key {
	for n := 0; ; n++ {
		id := fmt.Sprintf("%s-%d", name, n)
		slot := redisnode.Slot("{" + id + "}")
		if slot >= layout.FirstSlot(shard, shards) && slot < (shard+1)*redisnode.SlotCount/shards {
			return history.Key{ID: id, Class: class, Slot: slot, Shard: shard}
		}
	}
}
