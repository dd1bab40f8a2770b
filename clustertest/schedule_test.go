package clustertest

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestScheduleText(t *testing.T) {
	t.Parallel()
	s := Schedule{Seed: 7, Concurrent: true, Steps: []Step{
		{At: 1250 * time.Millisecond, Fault: "freeze", Shard: 2, Role: Primary, Lasts: 900 * time.Millisecond},
		{At: 2 * time.Second, Fault: "my own fault", Shard: 0, Role: Replica},
	}}
	const want = `seed=7 concurrent=true break-quorum=false
+1.25s freeze shard=2 role=primary lasts=900ms
+2s "my own fault" shard=0 role=replica lasts=0s
`
	if got := s.String(); got != want {
		t.Errorf("String() =\n%s\nwant\n%s", got, want)
	}
	got, err := ParseSchedule("\n  " + strings.ReplaceAll(want, "\n", "\n\n  "))
	if err != nil || !got.Equal(s) {
		t.Errorf("ParseSchedule = %v, %v, want %v", got, err, s)
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	t.Parallel()
	const head = "seed=1 concurrent=false break-quorum=false\n"
	for name, tt := range map[string]struct{ text, word string }{
		"nothing":        {" \n", "empty"},
		"no head":        {"+1s kill shard=0 role=primary lasts=1s", "line 1: want seed="},
		"bad seed":       {"seed=-1 concurrent=false break-quorum=false", "line 1"},
		"bad bool":       {"seed=1 concurrent=maybe break-quorum=false", "concurrent"},
		"head too long":  {"seed=1 concurrent=false break-quorum=false x", "too much"},
		"no time":        {head + "kill shard=0 role=primary lasts=1s", "line 2"},
		"no fault":       {head + "+1s", "shard="},
		"negative time":  {head + "+-1s kill shard=0 role=primary lasts=1s", "negative"},
		"negative shard": {head + "+1s kill shard=-1 role=primary lasts=1s", "negative"},
		"no end":         {head + "+1s kill shard=0 role=primary", "lasts="},
		"open quotes":    {head + `+1s "kill shard=0 role=primary lasts=1s`, "quotes"},
		"step too long":  {head + "+1s kill shard=0 role=primary lasts=1s lasts=2s", "too much"},
		"out of order":   {head + "+2s kill shard=0 role=primary lasts=1s\n+1s kill shard=0 role=primary lasts=1s", "line 3: step at 1s after one at 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := ParseSchedule(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.word) {
				t.Errorf("ParseSchedule(%q) = %v, %v, want an error with %q", tt.text, s, err, tt.word)
			}
		})
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("seed=1 concurrent=true break-quorum=true\n+1s kill shard=0 role=primary lasts=1ms\n")
	f.Add("seed=18446744073709551615 concurrent=false break-quorum=false\n+2562047h47m16.854775807s \"a\\nb\" shard=1 role=\"\" lasts=1ns")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.String())
		if err != nil || !again.Equal(s) {
			t.Errorf("%q is read as\n%s\nand that as\n%s, %v", text, s, again, err)
		}
	})
}

func FuzzScheduleRoundTrip(f *testing.F) {
	f.Add(uint64(1), int64(5), "kill", 3, "primary", int64(7))
	f.Add(uint64(math.MaxUint64), int64(math.MaxInt64), "a \"b\"\n", math.MaxInt, "", int64(0))
	f.Fuzz(func(t *testing.T, seed uint64, at int64, fault string, shard int, role string, lasts int64) {
		if at < 0 || lasts < 0 || shard < 0 || fault == "" {
			return
		}
		s := Schedule{Seed: seed, Steps: []Step{{time.Duration(at), fault, shard, Role(role), time.Duration(lasts)}}}
		got, err := ParseSchedule(s.String())
		if err != nil || !got.Equal(s) {
			t.Errorf("%#v is written as\n%s\nand read as %#v, %v", s, s, got, err)
		}
	})
}

func noFault(name string, impact Impact) Fault {
	return Fault{Name: name, Impact: impact, Begin: func(context.Context, Target) (func(context.Context) error, error) { return nil, nil }}
}

var sixNodes = Topology{Primaries: 3, ReplicasPerPrimary: 1}

func draw(t *testing.T, seed uint64, cfg ChaosConfig) Schedule {
	t.Helper()
	s, err := Chaos(seed, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestChaosFollowsFromItsSeed(t *testing.T) {
	t.Setenv(SeedEnv, "")
	cfg := ChaosConfig{Topology: sixNodes, Duration: 5 * time.Minute}
	one := draw(t, 1, cfg)
	if len(one.Steps) < 20 {
		t.Fatalf("only %d steps in 5 minutes:\n%s", len(one.Steps), one)
	}
	if again := draw(t, 1, cfg); !again.Equal(one) {
		t.Errorf("seed 1 gave\n%s\nand then\n%s", one, again)
	}
	if two := draw(t, 2, cfg); slices.Equal(two.Steps, one.Steps) {
		t.Errorf("seeds 1 and 2 gave the same:\n%s", one)
	}
	t.Setenv(SeedEnv, "1")
	if replayed := draw(t, 99, cfg); !replayed.Equal(one) {
		t.Errorf("%s=1 gave\n%s\nwant\n%s", SeedEnv, replayed, one)
	}
	t.Setenv(SeedEnv, "0")
	if given := draw(t, 1, cfg); !given.Equal(one) {
		t.Errorf("%s=0 is not the given seed", SeedEnv)
	}
	t.Setenv(SeedEnv, "x")
	if _, err := Chaos(1, cfg); err == nil || !strings.Contains(err.Error(), SeedEnv) {
		t.Errorf("%s=x: %v", SeedEnv, err)
	}
}

// TestChaosKeepsItsBounds reads many schedules for what the config promises.
func TestChaosKeepsItsBounds(t *testing.T) {
	t.Setenv(SeedEnv, "")
	base := ChaosConfig{
		Topology: sixNodes, Duration: time.Minute,
		MinGap: 200 * time.Millisecond, MaxGap: 300 * time.Millisecond,
		MinLasting: time.Second, MaxLasting: 3 * time.Second,
	}
	concurrent, broken := base, base
	concurrent.Concurrent = true
	broken.Concurrent, broken.BreakQuorum = true, true
	for name, cfg := range map[string]ChaosConfig{"sequential": base, "concurrent": concurrent, "broken": broken} {
		overlaps, nodesDown := false, false
		for seed := range uint64(50) {
			s := draw(t, seed, cfg)
			o, d := checkBounds(t, cfg, s)
			overlaps, nodesDown = overlaps || o, nodesDown || d
		}
		if overlaps != cfg.Concurrent || nodesDown != cfg.BreakQuorum {
			t.Errorf("%s: faults overlap %t, of ImpactCluster %t", name, overlaps, nodesDown)
		}
	}
}

// checkBounds reports whether any two steps of s overlap, and whether two of
// ImpactCluster do.
func checkBounds(t *testing.T, cfg ChaosConfig, s Schedule) (overlap, clusterOverlap bool) {
	t.Helper()
	faults := Faults(cfg.Topology)
	var over, clusterOver time.Duration
	last := time.Duration(0)
	for _, step := range s.Steps {
		f, ok := faultNamed(faults, step.Fault)
		lastsOK := f.Instant && step.Lasts == 0 || !f.Instant && step.Lasts >= cfg.MinLasting && step.Lasts <= cfg.MaxLasting
		roleOK := f.Roles == nil && (step.Role == Primary || step.Role == Replica) || slices.Contains(f.Roles, step.Role)
		if !ok || !lastsOK || !roleOK || step.Shard < 0 || step.Shard > 2 || step.At < last || step.At >= cfg.Duration {
			t.Errorf("seed %d: bad step %q", s.Seed, step)
		}
		last = step.At
		overlap = overlap || step.At < over
		over = max(over, step.At+step.Lasts)
		if f.Impact == ImpactCluster {
			clusterOverlap = clusterOverlap || step.At < clusterOver
			clusterOver = max(clusterOver, step.At+step.Lasts)
		}
	}
	return overlap, clusterOverlap
}

func TestChaosDrawsEveryFault(t *testing.T) {
	t.Setenv(SeedEnv, "")
	s := draw(t, 1, ChaosConfig{Topology: sixNodes, Duration: 30 * time.Minute})
	for _, f := range Faults(sixNodes) {
		if !slices.ContainsFunc(s.Steps, func(step Step) bool { return step.Fault == f.Name }) {
			t.Errorf("%s is not among %d steps", f.Name, len(s.Steps))
		}
	}
}

func TestChaosRefuses(t *testing.T) {
	t.Setenv(SeedEnv, "")
	for name, cfg := range map[string]ChaosConfig{
		"gaps":     {MinGap: 2 * time.Second, MaxGap: time.Second},
		"lasting":  {MinLasting: 2 * time.Second, MaxLasting: time.Second},
		"duration": {Duration: -1},
		"quorum":   {BreakQuorum: true},
		"nameless": {Faults: []Fault{{}}},
		"no begin": {Faults: []Fault{{Name: "x"}}},
		"topology": {Topology: Topology{Primaries: -1}},
	} {
		if s, err := Chaos(1, cfg); err == nil {
			t.Errorf("%s: accepted as\n%s", name, s)
		}
	}
}

func TestFaultsOfTopology(t *testing.T) {
	t.Parallel()
	names := func(topology Topology) string {
		var list []string
		for _, f := range Faults(topology) {
			list = append(list, f.Name)
		}
		return strings.Join(list, " ")
	}
	const light = " drop-clients drop-pubsub slow pause-writes flush evict"
	for _, tt := range []struct {
		topology Topology
		want     string
	}{
		{sixNodes, "kill restart freeze isolate isolate-minority failover failover-force failover-takeover cut-replication lose-writes move-slots set-slot add-node" + light},
		{Topology{ReplicasPerPrimary: 1, TLS: true, Backend: Local}, "kill restart freeze failover failover-force failover-takeover cut-replication lose-writes move-slots set-slot add-node" + light},
		{Topology{}, "kill restart freeze isolate move-slots set-slot add-node" + light},
		{Topology{Mode: Replicated}, "kill restart freeze" + light},
		{Topology{Mode: SentinelMode, Backend: Local}, "kill restart freeze cut-replication lose-writes" + light},
		{Topology{Mode: SentinelMode, Backend: Docker}, "kill restart freeze isolate cut-replication lose-writes" + light},
	} {
		if got := names(tt.topology); got != tt.want {
			t.Errorf("Faults(%+v)\n got %s\nwant %s", tt.topology, got, tt.want)
		}
	}
}

func TestSlotsOfShards(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 2, 3, 7, 100} {
		next := 0
		for i := range shards {
			target := Target{Cluster: &Cluster{topology: Topology{Primaries: shards}}, Step: Step{Shard: i}}
			first, last := target.slots()
			if first != next || last < first {
				t.Errorf("shard %d of %d has slots %d to %d, want from %d", i, shards, first, last, next)
			}
			next = last + 1
		}
		if next != slotCount {
			t.Errorf("%s shards end at slot %d", strconv.Itoa(shards), next)
		}
	}
}
