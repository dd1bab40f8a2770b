package redisnode_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

// countingMaker knows how many of its machines have not been removed.
type countingMaker struct {
	redisnode.Maker
	made, left atomic.Int64
	spoil      func(spec *redisnode.MachineSpec, n int64) // n counts from 1
}

func (m *countingMaker) Make(ctx context.Context, spec redisnode.MachineSpec) (redisnode.Machine, error) {
	if n := m.made.Add(1); m.spoil != nil {
		m.spoil(&spec, n)
	}
	machine, err := m.Maker.Make(ctx, spec)
	if err != nil {
		return nil, err
	}
	m.left.Add(1)
	return &countedMachine{Machine: machine, left: &m.left}, nil
}

type countedMachine struct {
	redisnode.Machine
	left *atomic.Int64
	gone atomic.Bool
}

func (m *countedMachine) Remove() {
	if m.gone.CompareAndSwap(false, true) {
		m.left.Add(-1)
	}
	m.Machine.Remove()
}

func TestFailedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	bad := func(spec *redisnode.MachineSpec) { spec.Lines = append(spec.Lines, "no-such-directive 7") }
	third := func(spec *redisnode.MachineSpec, n int64) {
		if n == 3 {
			bad(spec)
		}
	}
	sentinel := func(spec *redisnode.MachineSpec, _ int64) {
		if spec.Role == redisnode.SentinelNode {
			bad(spec)
		}
	}
	for _, tt := range []struct {
		name  string
		spoil func(*redisnode.MachineSpec, int64)
		start func(context.Context, redisnode.Maker) error
	}{
		{"cluster", third, func(ctx context.Context, m redisnode.Maker) error {
			_, err := redisnode.StartCluster(ctx, m, redisnode.ClusterConfig{ReplicasPerPrimary: 1})
			return err
		}},
		{"replicated", third, func(ctx context.Context, m redisnode.Maker) error {
			_, err := redisnode.StartReplicated(ctx, m, redisnode.ReplicatedConfig{Replicas: 3})
			return err
		}},
		{"sentinel", sentinel, func(ctx context.Context, m redisnode.Maker) error {
			_, err := redisnode.StartSentinel(ctx, m, redisnode.SentinelConfig{})
			return err
		}},
		{"standalone", func(spec *redisnode.MachineSpec, _ int64) { bad(spec) },
			func(ctx context.Context, m redisnode.Maker) error {
				_, err := redisnode.Start(ctx, m, redisnode.ServerConfig{})
				return err
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &countingMaker{Maker: newMaker(t, localredis.Redis), spoil: tt.spoil}
			err := tt.start(within(t), m)
			if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
				t.Errorf("error = %v, want the directive from the log", err)
			}
			if m.made.Load() == 0 || m.left.Load() != 0 {
				t.Errorf("%d of %d machines left, want none", m.left.Load(), m.made.Load())
			}
		})
	}
}

// A cluster whose nodes cannot meet is described and removed.
func TestFormationThatFailsIsDescribed(t *testing.T) {
	t.Parallel()
	m := &countingMaker{Maker: newMaker(t, localredis.Redis), spoil: func(spec *redisnode.MachineSpec, n int64) {
		if n == 2 {
			spec.Lines = append(spec.Lines, "rename-command CLUSTER NOCLUSTER")
		}
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := redisnode.StartCluster(ctx, m, redisnode.ClusterConfig{})
	for _, want := range []string{"unknown command", "CLUSTER NODES:", "Ready to accept connections"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("StartCluster = %v, want %q in it", err, want)
		}
	}
	if m.left.Load() != 0 {
		t.Errorf("%d machines left", m.left.Load())
	}
}

func TestStopEndsAStartThatIsUnderWay(t *testing.T) {
	t.Parallel()
	m := &countingMaker{Maker: newMaker(t, localredis.Redis)}
	s, err := redisnode.Start(within(t), m, redisnode.ServerConfig{Access: redisnode.Access{Password: "p"}})
	must(t, "Start", err)
	// From now on it answers nobody who knows the old password, so that Start
	// waits for it.
	wantReply(t, s, "OK", "CONFIG", "SET", "requirepass", "other")
	result := make(chan error, 1)
	go func() { result <- s.Restart() }()
	s.Stop()
	select {
	case err := <-result:
		if err != nil && !errors.Is(err, redisnode.ErrStopped) && !errors.Is(err, context.Canceled) {
			t.Errorf("Restart = %v, want ErrStopped or Canceled", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Restart goes on")
	}
	if s.Running() || m.left.Load() != 0 {
		t.Errorf("the server still runs, or %d machines are left", m.left.Load())
	}
}
