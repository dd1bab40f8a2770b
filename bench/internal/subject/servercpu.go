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

// ServerCPU is the unit of the metric that [OnServer] reports: microseconds of
// the server's processor time for one operation. Time per operation says
// little of it on a machine with few cores, where client and server compete.
const ServerCPU = "server-us/op"

// OnServer runs a benchmark and reports what it cost the server.
func OnServer(s *localredis.Server, body Bench) Bench {
	return func(b *testing.B) error {
		b.StopTimer()
		before, err := cpuMicros(s)
		if err != nil {
			return err
		}
		b.StartTimer() // before the body: B.Loop refuses a stopped timer
		err = body(b)
		b.StopTimer()
		after, errAfter := cpuMicros(s)
		b.ReportMetric((after-before)/float64(b.N), ServerCPU)
		return errors.Join(err, errAfter)
	}
}

// cpuMicros returns the processor time a server has used, in microseconds.
func cpuMicros(s *localredis.Server) (sum float64, err error) {
	reply, err := s.Do(context.Background(), "INFO", "cpu")
	if err != nil {
		return 0, err
	}
	text, _ := reply.(string)
	found := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_user" && name != "used_cpu_sys" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("INFO cpu: %s: %w", name, err)
		}
		found++
		sum += seconds * 1e6
	}
	if found != 2 {
		return 0, fmt.Errorf("INFO cpu: no processor times in %q", text)
	}
	return sum, nil
}
