package scaling

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// text returns a field of a section of INFO.
func text(ctx context.Context, s *localredis.Server, section, field string) (string, error) {
	fields, err := info(ctx, s, section)
	if err != nil {
		return "", err
	}
	v, ok := fields[field]
	if !ok {
		return "", fmt.Errorf("INFO %s has no %s", section, field)
	}
	return v, nil
}

func info(ctx context.Context, s *localredis.Server, section string) (map[string]string, error) {
	reply, err := s.Do(ctx, "INFO", section)
	if err != nil {
		return nil, err
	}
	body, _ := reply.(string)
	fields := map[string]string{}
	for line := range strings.Lines(body) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[k] = v
		}
	}
	return fields, nil
}

// A meter is what a server has done.
type meter struct {
	commands, bytes float64 // bytes that went either way
	cpu             float64 // µs
}

// less returns what was done since an earlier reading.
func (m meter) less(o meter) meter {
	return meter{m.commands - o.commands, m.bytes - o.bytes, m.cpu - o.cpu}
}

// read reads the meters of servers, and adds them up.
func read(ctx context.Context, servers ...*localredis.Server) (m meter, err error) {
	for _, s := range servers {
		fields := map[string]string{}
		for _, section := range []string{"stats", "cpu"} {
			f, err := info(ctx, s, section)
			if err != nil {
				return m, err
			}
			for k, v := range f {
				fields[k] = v
			}
		}
		for name, add := range map[string]func(float64){
			"total_commands_processed": func(v float64) { m.commands += v },
			"total_net_input_bytes":    func(v float64) { m.bytes += v },
			"total_net_output_bytes":   func(v float64) { m.bytes += v },
			"used_cpu_user":            func(v float64) { m.cpu += v * 1e6 },
			"used_cpu_sys":             func(v float64) { m.cpu += v * 1e6 },
		} {
			v, err := strconv.ParseFloat(fields[name], 64)
			if err != nil {
				return m, fmt.Errorf("INFO: %s: %w", name, err)
			}
			add(v)
		}
	}
	return m, nil
}

// between returns what servers have done while f ran, without what reading
// their meters costs.
func between(ctx context.Context, servers []*localredis.Server, f func() error) (m meter, err error) {
	var at [3]meter
	for i := range at {
		if at[i], err = read(ctx, servers...); err != nil {
			return m, err
		}
		if i == 1 {
			if err := f(); err != nil {
				return m, err
			}
		}
	}
	return at[2].less(at[1]).less(at[1].less(at[0])), nil
}

// memory returns the bytes that a server uses.
func memory(ctx context.Context, s *localredis.Server) (float64, error) {
	v, err := text(ctx, s, "memory", "used_memory")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(v, 64)
}
