//go:build unix

package suite

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
)

// phase is one kind of phase.
type phase struct {
	name string
	// what says in a sentence what is done.
	what string
	// do makes the faults. Nil makes none.
	do func(ctx context.Context, e *env) error
	// spinning instances read without rest.
	spinning int
	// register is for porcupine: how many operations each client does. l1 keeps
	// values in memory; then there is one instance with several clients.
	register int
	l1       bool
	// groups adds keys with tags, in namespaces of their own, and of patterns.
	groups bool
	// wrongClock runs one instance with a wrong clock.
	wrongClock bool
	// number is its place in the full list, from 1: what is drawn in a phase
	// does not depend on which others are run.
	number int
}

// plan returns the phases that a run does before it soaks.
func plan(cfg Config) []phase {
	all := phases(cfg.Seed, cfg.Short)
	if cfg.Invalidation {
		all = invalidationPhases(cfg.Broadcast)
	}
	for i := range all {
		all[i].number = i + 1
	}
	return slices.DeleteFunc(all, func(p phase) bool { return cfg.Only != nil && !cfg.Only.MatchString(p.name) })
}

// soak returns the i-th phase of a soak, counted from 0.
func soak(cfg Config, i int) phase {
	const first = 1000 // above all numbers of phases
	p := combination(fmt.Sprint("soak ", i+1), cfg.Seed+first+uint64(i), time.Minute)
	p.number = first + i
	return p
}

// phases returns all phases, in order. A short run has fewer of the last ones.
func phases(seed uint64, short bool) []phase {
	delay := instance.LinkFault{Do: "delay", Delay: 60 * time.Millisecond, Jitter: 40 * time.Millisecond}
	all := []phase{
		{name: "no fault", what: "nothing is done"},
		{name: "registers in Redis", what: "nothing is done; single keys, no L1, several instances", register: 250},
		{name: "registers in memory", what: "nothing is done; single keys, one instance with L1, several goroutines", register: 250, l1: true},
		{name: "freeze primary", what: "a primary is frozen, its replica takes over, it wakes up", do: freezePrimary},
		{name: "freeze primary briefly", what: "a primary is frozen three times for less than a failover takes", do: freezeBriefly},
		{name: "freeze replica", what: "a replica is frozen", do: freezeReplica},
		{name: "kill primary", what: "a primary is killed, its replica takes over, it is started again", do: killPrimary},
		{name: "restart primary", what: "a primary is killed and started at once, without its data", do: restartPrimary},
		{name: "kill replica", what: "a replica is killed and started again", do: killReplica},
		{name: "isolate primary", what: "a primary is cut off from all other nodes, but not from clients", do: isolatePrimary},
		{name: "isolate minority", what: "a primary and the replica of another are cut off, but not from clients", do: isolateMinority},
		{name: "isolate majority", what: "all nodes but one primary and its replica are cut off: that shard cannot fail over", do: isolateShard},
		{name: "failover", what: "a replica takes over in agreement, and back", do: failover(clustertest.Graceful)},
		{name: "failover force", what: "a replica takes over without its primary, and back", do: failover(clustertest.Force)},
		{name: "failover takeover", what: "a replica takes over without anybody's vote, and back", do: failover(clustertest.Takeover)},
		{name: "lose writes", what: "replication is cut, then the primary is killed: acknowledged writes are lost for certain", do: loseWrites(300 * time.Millisecond)},
		{name: "move slots", what: "slots are moved with MIGRATE, and back", do: moveSlots("move slots", false, (*clustertest.Cluster).MoveSlot)},
		{name: "set slots", what: "slots change hands by SETSLOT alone, without their keys, and back", do: moveSlots("set slots", true, (*clustertest.Cluster).SetSlot)},
		{name: "add node", what: "a primary is added, gets slots, and is removed", do: addNode},
		{name: "drop clients", what: "all connections of clients are closed five times", do: dropClients(clustertest.Normal)},
		{name: "drop pubsub", what: "all connections with subscriptions are closed five times", do: dropClients(clustertest.PubSub)},
		{name: "slow node", what: "everything to and from a primary takes 40 ms longer, give or take 20", do: slowNode},
		{name: "pause writes", what: "a primary holds back writes", do: pauseWrites},
		{name: "flush all", what: "all data is deleted four times", do: flushAll},
		{name: "evictions", what: "each primary evicts keys twice", do: evict},
		{name: "cut link", what: "one instance loses all connections and cannot connect", do: hurtLink("cut link", instance.LinkFault{Do: "cut"})},
		{name: "blackhole link", what: "nothing passes between one instance and Redis", do: hurtLink("blackhole link", instance.LinkFault{Do: "blackhole"})},
		{name: "delay link", what: "everything between one instance and Redis takes 60 ms longer, give or take 40", do: hurtLink("delay link", delay)},
		{name: "freeze instance", what: "an instance is frozen while it reads", do: freezeInstance, spinning: 1},
		{name: "kill instance", what: "an instance is killed and another started in its place", do: killInstance},
		{name: "wrong clocks", what: "the wall clock of one instance is a quarter of an hour off, and jumps", do: wrongClock, wrongClock: true},
	}
	combinations, length := 3, 30*time.Second
	if short {
		combinations, length = 1, 10*time.Second
	}
	for i := range combinations {
		all = append(all, combination(fmt.Sprint("combination ", i+1), seed+uint64(i), length))
	}
	return all
}
