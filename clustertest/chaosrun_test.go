package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// everyFault is a schedule with each built-in fault once, as fast as it goes.
func everyFault(t Topology) Schedule {
	var s Schedule
	for i, f := range Faults(t) {
		step := Step{At: time.Duration(i) * time.Millisecond, Fault: f.Name, Shard: i % t.Primaries, Role: Primary}
		if f.Roles != nil {
			step.Role = f.Roles[0]
		}
		if !f.Instant {
			step.Lasts = 100 * time.Millisecond
		}
		s.Steps = append(s.Steps, step)
	}
	return s
}

func TestScheduleRun(t *testing.T) {
	t.Parallel()
	forEachBackend(t, func(t *testing.T, on Topology) {
		long(t, on)
		on.ReplicasPerPrimary = 1
		c := Start(t, on)
		client := clientOf(t, c.ClientOption())
		// Containers do the same with more patience; TestFaults has each fault.
		if c.Backend() == Local {
			setAll(t, client)
			testEveryFault(t, c)
		}
		setAll(t, client) // those that were killed have forgotten theirs
		concurrent, err := Chaos(1, ChaosConfig{
			Topology: c.Topology(), Duration: 2 * time.Second, MaxLasting: time.Second,
			MinGap: 100 * time.Millisecond, MaxGap: 300 * time.Millisecond, Concurrent: true,
		})
		must(t, "Chaos", err)
		must(t, "Run concurrently", concurrent.Run(t.Context(), c, RunOptions{Log: t.Logf}))
		waitStable(t, c)
		set(t, client, "after", "v")
	})
}

// setAll puts keys on every shard, for faults that want some.
func setAll(t *testing.T, client rueidis.Client) {
	t.Helper()
	for i := range 100 {
		set(t, client, fmt.Sprint("key", i), strings.Repeat("x", 100))
	}
}

// testEveryFault does all built-in faults, one after the other.
func testEveryFault(t *testing.T, c *Cluster) {
	t.Helper()
	s := everyFault(c.Topology())
	var reports []StepReport
	err := s.Run(t.Context(), c, RunOptions{Log: t.Logf, Done: func(r StepReport) { reports = append(reports, r) }})
	must(t, "Run", err)
	checkReports(t, s, reports)
	waitStable(t, c)
	if nodes := c.Nodes(); len(nodes) != 6 {
		t.Errorf("%d nodes are left, want 6", len(nodes))
	}
}

func checkReports(t *testing.T, s Schedule, reports []StepReport) {
	t.Helper()
	if len(reports) != len(s.Steps) {
		t.Fatalf("%d reports of %d steps", len(reports), len(s.Steps))
	}
	for i, r := range reports {
		held := r.Ended.Sub(r.Held)
		if r.Step != s.Steps[i] || r.Err != nil || held < r.Step.Lasts ||
			r.Held.Before(r.Began) || r.Recovered.Before(r.Ended) {
			t.Errorf("report %d: %+v, want step %q in order", i, r, s.Steps[i])
		}
		if i > 0 && r.Began.Before(reports[i-1].Recovered) {
			t.Errorf("step %q began before the cluster had recovered from %q", r.Step, reports[i-1].Step)
		}
	}
}

// TestScheduleEndsHealthy cuts schedules short in the middle of a fault.
func TestScheduleEndsHealthy(t *testing.T) {
	t.Parallel()
	on := anyLocal(t)
	on.ReplicasPerPrimary = 1
	c := Start(t, on)
	long := Schedule{Steps: []Step{
		{Fault: "freeze", Role: Primary, Lasts: time.Hour},
		{Fault: "kill", Role: Primary, Lasts: time.Hour},
	}}

	t.Run("when its context ends", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		logged := func(format string, args ...any) {
			if strings.HasPrefix(fmt.Sprintf(format, args...), "chaos: +0s freeze") {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
		}
		err := long.Run(ctx, c, RunOptions{Log: logged})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v, want canceled", err)
		}
		wantAllRunning(t, c)
	})

	t.Run("when a step fails", func(t *testing.T) {
		failure := errors.New("does not work")
		ended := false
		s := Schedule{Concurrent: true, Steps: []Step{
			{Fault: "half", Role: Primary, Lasts: 200 * time.Millisecond},
			{Fault: "broken", Role: Replica},
			{At: time.Minute, Fault: "half", Role: Primary}, // never begins
		}}
		half := Fault{Name: "half", Begin: func(ctx context.Context, target Target) (func(context.Context) error, error) {
			n, err := target.Node(ctx)
			if err != nil {
				return nil, err
			}
			return func(context.Context) error { ended = true; return nil }, n.Kill(ctx) // is never started again by its end
		}}
		broken := Fault{Name: "broken", Begin: func(context.Context, Target) (func(context.Context) error, error) {
			return func(context.Context) error { t.Error("a fault that did not begin was ended"); return nil }, failure
		}}
		var mu sync.Mutex
		var done []string
		err := s.Run(t.Context(), c, RunOptions{Faults: []Fault{half, broken}, Done: func(r StepReport) {
			mu.Lock()
			defer mu.Unlock()
			done = append(done, r.Step.Fault)
		}})
		slices.Sort(done)
		if !errors.Is(err, failure) || !slices.Equal(done, []string{"broken", "half"}) || !ended {
			t.Errorf("Run: %v after %v, ended %t", err, done, ended)
		}
		wantAllRunning(t, c)
	})

	t.Run("without a step that is wrong", func(t *testing.T) {
		for name, s := range map[string]Step{
			"fault": {Fault: "earthquake", Role: Primary},
			"shard": {Fault: "kill", Shard: 3, Role: Primary},
			"role":  {Fault: "kill", Role: "boss"},
		} {
			if err := (Schedule{Steps: []Step{s}}).Run(t.Context(), c, RunOptions{}); err == nil {
				t.Errorf("a wrong %s is accepted", name)
			}
		}
	})
}

func wantAllRunning(t *testing.T, c *Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		if !n.Responsive() {
			t.Errorf("%s is killed or frozen", n)
		}
	}
	waitStable(t, c)
}

// TestBreakQuorum takes two of three primaries away at the same time.
func TestBreakQuorum(t *testing.T) {
	t.Parallel()
	on := anyLocal(t)
	c := Start(t, on)
	both := make(chan struct{})
	down := 0
	freeze := Fault{Name: "freeze", Impact: ImpactCluster, Begin: func(ctx context.Context, target Target) (func(context.Context) error, error) {
		n := target.Cluster.Node(target.Step.Shard)
		if err := n.Freeze(ctx); err != nil {
			return nil, err
		}
		if down++; down == 2 {
			close(both)
		}
		return func(ctx context.Context) error {
			select {
			case <-both: // the other one is frozen, too
			case <-ctx.Done():
				t.Error("the two faults did not overlap")
			}
			return n.Thaw(ctx)
		}, nil
	}}
	s := Schedule{Concurrent: true, BreakQuorum: true, Steps: []Step{
		{Fault: "freeze", Shard: 0, Role: Primary}, {Fault: "freeze", Shard: 1, Role: Primary},
	}}
	must(t, "Run", s.Run(t.Context(), c, RunOptions{Faults: []Fault{freeze}}))
	wantAllRunning(t, c)
}
