//go:build unix

package stampede

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// A usage is what servers have done so far.
type usage struct {
	commands int64 // those within scripts included, our own INFO not
	bytes    int64 // in and out, without the cluster bus
}

func (u usage) since(before usage) usage {
	return usage{u.commands - before.commands, u.bytes - before.bytes}
}

// usageOf adds up what all nodes say.
func usageOf(ctx context.Context, nodes []*localredis.Server) (sum usage, err error) {
	for _, n := range nodes {
		reply, err := n.Do(ctx, "INFO", "commandstats", "stats")
		if err != nil {
			return sum, fmt.Errorf("stampede: %w", err)
		}
		text, _ := reply.(string)
		u, err := parseUsage(text)
		if err != nil {
			return sum, err
		}
		sum.commands += u.commands
		sum.bytes += u.bytes
	}
	return sum, nil
}

// parseUsage reads the sections commandstats and stats of INFO.
func parseUsage(info string) (u usage, err error) {
	found := 0
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case strings.HasPrefix(name, "cmdstat_") && name != "cmdstat_info":
			calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			n, err := strconv.ParseInt(calls, 10, 64)
			if err != nil {
				return u, fmt.Errorf("stampede: INFO: %s: %w", name, err)
			}
			u.commands += n
		case name == "total_net_input_bytes", name == "total_net_output_bytes":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return u, fmt.Errorf("stampede: INFO: %s: %w", name, err)
			}
			u.bytes += n
			found++
		}
	}
	if found != 2 {
		return u, fmt.Errorf("stampede: INFO says nothing of the network")
	}
	return u, nil
}

// cpuTicks returns the processor time of the machine that was spent and that
// there was, in ticks; zeros where the system does not say.
func cpuTicks() (busy, all int64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return parseTicks(line)
}

// parseTicks reads the first line of /proc/stat: user, nice, system, idle,
// waiting for disks, and what interrupts and other machines took.
func parseTicks(line string) (busy, all int64) {
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil || i > 8 { // guests are counted as user already
			continue
		}
		all += n
		if i != 4 && i != 5 {
			busy += n
		}
	}
	return busy, all
}
