package redisnode

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// startAttempts bounds how often Start makes another machine when somebody else
// has taken the port that the machine had chosen.
const startAttempts = 5

// ServerConfig describes a standalone server. ServerConfig{} has an append-only
// file and default settings.
type ServerConfig struct {
	// Lines are lines of the configuration file, for example "maxmemory 10mb".
	// They come after those of this package and win over them. The port, the
	// bind address and the directory must stay.
	Lines []string

	// Files are put beside the configuration file; Lines refer to them as
	// ${DIR}/name.
	Files map[string][]byte

	// Access is how to talk to the server, which is configured for it.
	Access Access
}

// Start runs a standalone server on a machine that maker makes, and blocks until
// it answers. The error for a server that does not come up ends with the last
// lines of its log, and nothing is left behind then.
func Start(ctx context.Context, maker Maker, cfg ServerConfig) (*Server, error) {
	if err := cfg.Access.validate(cfg.Files); err != nil {
		return nil, err
	}
	return start(ctx, maker, plan{
		spec: MachineSpec{
			Role:  Data,
			TLS:   cfg.Access.TLS != nil,
			Lines: slices.Concat(dataLines(), cfg.Access.lines(), cfg.Lines),
			Files: cfg.Files,
		},
		access: cfg.Access,
	})
}

// plan is what it takes to start one server.
type plan struct {
	spec   MachineSpec
	access Access
	setup  []string // command to send after every start
}

func start(ctx context.Context, maker Maker, p plan) (*Server, error) {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		machine, err := maker.Make(ctx, p.spec)
		if err != nil {
			return nil, err
		}
		s := newServer(machine, p.access, p.setup)
		s.life.Lock()
		err = s.run(ctx)
		s.life.Unlock()
		if err == nil {
			return s, nil
		}
		taken := strings.Contains(s.Log(), "Address already in use")
		s.Stop()
		if !taken || attempt == startAttempts || ctx.Err() != nil {
			return nil, err
		}
	}
}

// startAll starts servers in parallel: all of them, or none and the errors.
func startAll(ctx context.Context, maker Maker, plans []plan) ([]*Server, error) {
	servers := make([]*Server, len(plans))
	err := inParallel(len(plans), func(i int) (err error) {
		servers[i], err = start(ctx, maker, plans[i])
		return err
	})
	if err != nil {
		stopAll(servers)
		return nil, err
	}
	return servers, nil
}

func stopAll(servers []*Server) {
	_ = inParallel(len(servers), func(i int) error {
		if servers[i] != nil {
			servers[i].Stop()
		}
		return nil
	})
}

func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return list
}

// describeAll joins what Describe says of each server.
func describeAll(servers []*Server, n int) string {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString(s.Describe(n))
	}
	return b.String()
}

// inParallel runs do(0) to do(n-1) at the same time, waits for all of them, and
// joins their errors.
func inParallel(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
