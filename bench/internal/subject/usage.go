package subject

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Commands is the unit of the metric that [OnCluster] reports: commands that
// the servers have processed for one operation, those inside of scripts
// included.
const Commands = "commands/op"

// background is how many commands a run may have seen that are not its own:
// beats, looks at the topology, and our own INFO.
const background = 200

// Bounds say how many commands an operation takes at least, and at most: what
// shows that a benchmark measures what it is said to. Negative is no bound.
type Bounds struct{ Least, Most float64 }

// The bounds of operations that go to Redis never, or each time, and of those
// of which nothing is known.
var (
	InMemory = Bounds{-1, 0.02}
	OnRedis  = Bounds{0.8, -1}
	Anything = Bounds{-1, -1}
)

// OnCluster runs a benchmark and reports what it cost the servers. It fails if
// the benchmark took fewer commands than it should, or more.
func OnCluster(servers []*localredis.Server, want Bounds, body Bench) Bench {
	return func(b *testing.B) error {
		b.StopTimer()
		before, err := UsageOf(servers)
		if err != nil {
			return err
		}
		b.StartTimer() // before the body: B.Loop refuses a stopped timer
		err = body(b)
		b.StopTimer()
		after, errAfter := UsageOf(servers)
		if err := errors.Join(err, errAfter); err != nil {
			return err
		}
		n, commands := float64(b.N), float64(after.Commands-before.Commands)
		b.ReportMetric((after.CPUMicros-before.CPUMicros)/n, ServerCPU)
		b.ReportMetric(commands/n, Commands)
		switch {
		case want.Least >= 0 && commands < want.Least*n:
			return fmt.Errorf("%.0f commands for %d operations, want at least %.2f for each", commands, b.N, want.Least)
		case want.Most >= 0 && commands > want.Most*n+background:
			return fmt.Errorf("%.0f commands for %d operations, want at most %.2f for each", commands, b.N, want.Most)
		}
		return nil
	}
}

// Usage is what servers have done since they were started.
type Usage struct {
	Commands  int64
	CPUMicros float64
}

// UsageOf returns the sum over some servers.
func UsageOf(servers []*localredis.Server) (u Usage, err error) {
	for _, s := range servers {
		cpu, err := cpuMicros(s)
		if err != nil {
			return u, err
		}
		reply, err := s.Do(context.Background(), "INFO", "stats")
		if err != nil {
			return u, err
		}
		text, _ := reply.(string)
		_, rest, ok := strings.Cut(text, "total_commands_processed:")
		count, _, _ := strings.Cut(rest, "\r\n")
		n, err := strconv.ParseInt(count, 10, 64)
		if !ok || err != nil {
			return u, fmt.Errorf("INFO stats: no count of commands in %q", text)
		}
		u.Commands += n
		u.CPUMicros += cpu
	}
	return u, nil
}
