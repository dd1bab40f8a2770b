//go:build unix

package suite

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

func quietEnv() *env { return &env{instances: 3, log: func(string, ...any) {}} }

// TestStepsBecomeSpans: what the judge is told of a step of a schedule.
func TestStepsBecomeSpans(t *testing.T) {
	start := time.Now()
	before := history.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, tt := range []struct {
		fault                                             string
		role                                              clustertest.Role
		lasts                                             time.Duration
		mayLose, forgets, commanded, redis, held, healing bool
	}{
		{fault: "freeze", role: clustertest.Primary, lasts: 1, mayLose: true, redis: true, healing: true},
		{fault: "freeze", role: clustertest.Replica, lasts: 1, redis: true, healing: true},
		{fault: "restart", role: clustertest.Primary, mayLose: true, forgets: true, redis: true},
		{fault: "restart", role: clustertest.Replica, redis: true},
		{fault: "failover-force", role: clustertest.Replica, mayLose: true, commanded: true, redis: true, held: true},
		{fault: "lose-writes", role: clustertest.Replica, lasts: 1, mayLose: true, redis: true, healing: true},
		{fault: "set-slot", role: clustertest.Primary, lasts: 1, mayLose: true, forgets: true, commanded: true, redis: true, held: true, healing: true},
		{fault: "flush", role: clustertest.Primary, forgets: true, redis: true, held: true},
		{fault: "failover", role: clustertest.Replica, redis: true},
		{fault: "cut-link", role: clustertest.Primary, lasts: 1, healing: true},
	} {
		e := quietEnv()
		e.record(clustertest.StepReport{
			Step:  clustertest.Step{Fault: tt.fault, Shard: 2, Role: tt.role, Lasts: tt.lasts},
			Began: at(1000), Held: at(2000), Ended: at(3000), Recovered: at(4000),
		})
		s := e.spans[0]
		if s.MayLose != tt.mayLose || s.Forgets != tt.forgets || s.Commanded != tt.commanded || s.Redis != tt.redis {
			t.Errorf("%s of a %s is %+v", tt.fault, tt.role, s)
		}
		if (s.Held != 0) != tt.held || (s.Healing != 0) != tt.healing {
			t.Errorf("%s of a %s: held at %d, healing at %d", tt.fault, tt.role, s.Held, s.Healing)
		}
		if !slices.Equal(s.Shards, []int{2}) {
			t.Errorf("%s harms shards %v, want 2", tt.fault, s.Shards)
		}
		if d := s.Recovered.Sub(s.Began); d < 2900*time.Millisecond || d > 3100*time.Millisecond || s.Began < before {
			t.Errorf("%s began at %d and took %v, want after %d and 3s", tt.fault, s.Began, d, before)
		}
	}
}

// TestStepThatFailed has no times that it did not come to.
func TestStepThatFailed(t *testing.T) {
	e := quietEnv()
	e.record(clustertest.StepReport{Step: clustertest.Step{Fault: "set-slot", Lasts: 1}, Began: time.Now(), Err: errors.New("no")})
	if s := e.spans[0]; s.Began == 0 || s.Held != 0 || s.Healing != 0 || s.Ended != 0 || s.Recovered != 0 {
		t.Errorf("times of %+v", s)
	}
}

// TestTimesOfAFault: they are recorded in order, and healing only if there is
// something to heal.
func TestTimesOfAFault(t *testing.T) {
	e := quietEnv()
	e.instances = 0
	broken := errors.New("broken")
	rec := e.begin("x", span{shards: []int{1}, mayLose: true, commanded: true})
	rec.held()
	if err := rec.end(func() error { return broken }, func() error { return nil }); !errors.Is(err, broken) {
		t.Errorf("end = %v", err)
	}
	err := e.begin("y", span{}).end(nil, func() error { return broken })
	if !errors.Is(err, broken) {
		t.Errorf("end = %v", err)
	}
	x, y := e.spans[0], e.spans[1]
	if !x.MayLose || !x.Commanded || x.Redis || !slices.Equal(x.Shards, []int{1}) ||
		!slices.IsSorted([]history.Time{1, x.Began, x.Held, x.Healing, x.Ended, x.Recovered}) {
		t.Errorf("the first is %+v", x)
	}
	if y.Held != 0 || y.Healing != 0 || y.Ended == 0 || y.Recovered < y.Ended || y.Shards != nil {
		t.Errorf("the second is %+v", y)
	}
}
