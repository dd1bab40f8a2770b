package clustertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"time"
)

// Impact says how far a [Fault] reaches, and so what it may overlap with.
type Impact int

const (
	// ImpactNone is for faults outside of the cluster, for example of a client.
	// They overlap with everything. It is the zero Impact.
	ImpactNone Impact = iota
	// ImpactNode is for faults that need the target shard to be in order and
	// leave it so: they wait for other faults of the same shard to be over.
	ImpactNode
	// ImpactCluster is for faults that cost the cluster a node or change its
	// topology: one at a time, and the cluster is healthy before the next.
	ImpactCluster
)

// Fault is something that can happen to a cluster, for use in a [Schedule].
type Fault struct {
	// Name names the fault in schedules.
	Name string

	// Impact says what the fault may overlap with.
	//
	// Defaults to ImpactNone.
	Impact Impact

	// Roles are the roles that the target may have.
	//
	// Defaults to both.
	Roles []Role

	// Instant is set for faults that are over when they have begun: they get no
	// time to last.
	Instant bool

	// Begin makes the fault happen and returns when it has taken effect. It
	// returns how to end it, which is called exactly once, also when the
	// schedule is cut short, with a context of its own; nil if there is nothing
	// to end. If it fails it has to leave nothing to end.
	Begin func(ctx context.Context, t Target) (end func(context.Context) error, err error)
}

// Target is what a [Fault] is aimed at.
type Target struct {
	Cluster *Cluster
	Step    Step
}

// Node returns the node which is the target at this moment. It asks the
// cluster, and fails if the shard has no node in that role that runs.
func (t Target) Node(ctx context.Context) (*Node, error) {
	primary, err := t.Cluster.PrimaryOf(ctx, t.slot())
	if err != nil || t.Step.Role != Replica {
		return primary, err
	}
	replicas, err := t.Cluster.ReplicasOf(ctx, primary)
	if err != nil {
		return nil, err
	}
	for _, n := range replicas {
		if n.Responsive() {
			return n, nil
		}
	}
	return nil, fmt.Errorf("clustertest: shard %d has no replica that runs", t.Step.Shard)
}

// slot returns the slot by which the shard is known.
func (t Target) slot() int { return firstSlot(t.Step.Shard, t.Cluster.topology.Primaries) }

func firstSlot(shard, shards int) int { return shard * slotCount / shards }

// Defaults of [ChaosConfig].
const (
	DefaultChaosDuration   = 30 * time.Second
	DefaultChaosMinGap     = 500 * time.Millisecond
	DefaultChaosMaxGap     = 2 * time.Second
	DefaultChaosMinLasting = 100 * time.Millisecond
	DefaultChaosMaxLasting = 4 * time.Second
)

// ChaosConfig says which schedules [Chaos] may draw.
type ChaosConfig struct {
	// Topology is that of the cluster: [Cluster.Topology]. It decides how many
	// shards there are, whether there are replicas, and which faults are
	// possible.
	Topology Topology

	// Faults are those to choose from, all equally likely. One that is in the
	// list twice is twice as likely.
	//
	// Defaults to Faults(Topology).
	Faults []Fault

	// Duration is the time within which faults begin. Replaying takes longer:
	// the last fault has to end, and recovery takes the time it takes.
	//
	// Defaults to DefaultChaosDuration.
	Duration time.Duration

	// MinGap and MaxGap bound the time from the end of a fault to the begin of
	// the next, or from begin to begin if Concurrent is set.
	//
	// Default to DefaultChaosMinGap and DefaultChaosMaxGap.
	MinGap, MaxGap time.Duration

	// MinLasting and MaxLasting bound how long faults last. With the default
	// NodeTimeout a primary that is gone for more than about two seconds is
	// replaced; the defaults lie on both sides of that.
	//
	// Default to DefaultChaosMinLasting and DefaultChaosMaxLasting.
	MinLasting, MaxLasting time.Duration

	// Concurrent lets faults overlap, except two of ImpactCluster, and two of
	// one shard.
	Concurrent bool

	// BreakQuorum, together with Concurrent, lets also faults of ImpactCluster
	// overlap. Shards can then be without a primary until the end of the
	// schedule, and a fault that cannot begin because of others is skipped. A
	// partition replaces an earlier one.
	BreakQuorum bool
}

func (cfg ChaosConfig) withDefaults() ChaosConfig {
	cfg.Topology = cfg.Topology.withDefaults()
	if cfg.Faults == nil {
		cfg.Faults = Faults(cfg.Topology)
	}
	cfg.Duration = cmp.Or(cfg.Duration, DefaultChaosDuration)
	// A default that contradicts a bound which was given gives way.
	if cfg.MinGap == 0 {
		cfg.MinGap = min(DefaultChaosMinGap, cmp.Or(cfg.MaxGap, DefaultChaosMinGap))
	}
	cfg.MaxGap = cmp.Or(cfg.MaxGap, max(DefaultChaosMaxGap, cfg.MinGap))
	if cfg.MinLasting == 0 {
		cfg.MinLasting = min(DefaultChaosMinLasting, cmp.Or(cfg.MaxLasting, DefaultChaosMinLasting))
	}
	cfg.MaxLasting = cmp.Or(cfg.MaxLasting, max(DefaultChaosMaxLasting, cfg.MinLasting))
	return cfg
}

func (cfg ChaosConfig) validate() error {
	switch {
	case cfg.Duration < 0:
		return fmt.Errorf("clustertest: ChaosConfig.Duration is %s, want more than 0", cfg.Duration)
	case cfg.MinGap < time.Millisecond || cfg.MinGap > cfg.MaxGap:
		return fmt.Errorf("clustertest: ChaosConfig.MinGap is %s and MaxGap %s, want 1ms <= MinGap <= MaxGap", cfg.MinGap, cfg.MaxGap)
	case cfg.MinLasting < 0 || cfg.MinLasting > cfg.MaxLasting:
		return fmt.Errorf("clustertest: ChaosConfig.MinLasting is %s and MaxLasting %s, want 0 <= MinLasting <= MaxLasting", cfg.MinLasting, cfg.MaxLasting)
	case cfg.BreakQuorum && !cfg.Concurrent:
		return errors.New("clustertest: ChaosConfig.BreakQuorum needs Concurrent: faults one after the other break no quorum")
	}
	for _, f := range cfg.Faults {
		if f.Name == "" || f.Begin == nil {
			return fmt.Errorf("clustertest: ChaosConfig.Faults has %q, want each with Name and Begin", f.Name)
		}
	}
	return cfg.Topology.validate()
}

// Chaos draws a schedule of faults. The same seed and config give the same
// schedule. If the environment variable CLUSTERTEST_SEED is set, and not 0, it
// replaces the seed: that is how a failed run is replayed, as far as the
// schedule decides. [Schedule.String] is independent of the version of this
// package and of Go.
func Chaos(seed uint64, cfg ChaosConfig) (Schedule, error) {
	seed, err := seedFromEnv(seed)
	if err != nil {
		return Schedule{}, err
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return Schedule{}, err
	}
	d := &drawer{cfg: cfg, rand: rand.New(rand.NewPCG(seed, 0))}
	return Schedule{Seed: seed, Concurrent: cfg.Concurrent, BreakQuorum: cfg.BreakQuorum, Steps: d.steps()}, nil
}

func seedFromEnv(given uint64) (uint64, error) {
	text := os.Getenv(SeedEnv)
	if text == "" {
		return given, nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("clustertest: %s is %q, want a number from 0 to 2^64-1", SeedEnv, text)
	}
	return cmp.Or(seed, given), nil
}

// drawer draws the steps of a schedule.
type drawer struct {
	cfg  ChaosConfig
	rand *rand.Rand
	free time.Duration // when the last fault of ImpactCluster is over
}

func (d *drawer) steps() []Step {
	usable := slices.DeleteFunc(slices.Clone(d.cfg.Faults), func(f Fault) bool { return len(d.roles(f)) == 0 })
	if len(usable) == 0 {
		return nil
	}
	var steps []Step
	for at := d.between(d.cfg.MinGap, d.cfg.MaxGap); at < d.cfg.Duration; at += d.between(d.cfg.MinGap, d.cfg.MaxGap) {
		f := usable[d.rand.IntN(len(usable))]
		step := d.step(f, at)
		if at = step.At; at >= d.cfg.Duration {
			break
		}
		steps = append(steps, step)
		if !d.cfg.Concurrent {
			at += step.Lasts
		}
	}
	return steps
}

func (d *drawer) step(f Fault, at time.Duration) Step {
	roles := d.roles(f)
	step := Step{
		At:    at,
		Fault: f.Name,
		Shard: d.rand.IntN(d.cfg.Topology.Primaries),
		Role:  roles[d.rand.IntN(len(roles))],
	}
	if !f.Instant {
		step.Lasts = d.between(d.cfg.MinLasting, d.cfg.MaxLasting)
	}
	if f.Impact == ImpactCluster && !d.cfg.BreakQuorum {
		step.At = max(step.At, d.free)
		d.free = step.At + step.Lasts + d.cfg.MinGap
	}
	return step
}

// roles returns the roles that a target of f can have in this topology.
func (d *drawer) roles(f Fault) []Role {
	roles := []Role{Primary}
	if d.cfg.Topology.ReplicasPerPrimary > 0 {
		roles = append(roles, Replica)
	}
	if f.Roles == nil {
		return roles
	}
	return slices.DeleteFunc(roles, func(r Role) bool { return !slices.Contains(f.Roles, r) })
}

// between draws a time, in whole milliseconds.
func (d *drawer) between(low, high time.Duration) time.Duration {
	span := (high - low) / time.Millisecond
	return low + time.Duration(d.rand.Int64N(int64(span)+1))*time.Millisecond
}
