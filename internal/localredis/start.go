package localredis

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// portAttempts bounds how often Start tries other ports when somebody else has
// taken the ones it chose.
const portAttempts = 5

// Config describes a standalone server. Config{} is a Redis with an append-only
// file and default settings.
type Config struct {
	// Flavor is the server to run.
	//
	// Defaults to Redis.
	Flavor Flavor

	// Args are configuration directives as command line arguments, for example
	// "--maxmemory", "10mb". They come after those of this package and win over
	// them; the port, the bind address and the directory must stay.
	Args []string

	// Dir is the data directory. It must exist, must not be in use by another
	// server, and is left in place by Stop.
	//
	// Defaults to a new temporary directory, which Stop removes.
	Dir string

	// Log receives everything the server prints, one Write at a time. It must
	// not block: a server waits for its log to be read.
	//
	// Defaults to none; Server.Log has the end of it in any case.
	Log io.Writer
}

// Start runs a standalone server on a free port of 127.0.0.1 and blocks until
// it answers. The error for a server that does not come up ends with the last
// lines of its log.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	return startServer(ctx, plan{Config: cfg})
}

// plan is a Config with what only clusters and sentinels need.
type plan struct {
	Config
	cluster  bool                         // wants a bus port
	setup    []string                     // command to send after every start
	sentinel []string                     // lines of a sentinel's configuration file
	reserve  func() (*reservation, error) // for tests; nil means reservePort
}

func startServer(ctx context.Context, p plan) (*Server, error) {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		s, err := p.newServer()
		if err != nil {
			return nil, err
		}
		s.life.Lock()
		err = s.run(ctx)
		s.life.Unlock()
		if err == nil {
			return s, nil
		}
		s.Stop()
		taken := strings.Contains(s.Log(), "Address already in use")
		if !taken || attempt == portAttempts {
			return nil, err
		}
	}
}

// newServer gives the plan ports and a directory.
func (p plan) newServer() (_ *Server, err error) {
	s := &Server{flavor: p.Flavor.orRedis(), dir: p.Dir, setup: p.setup, out: &tail{copyTo: p.Log}}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if s.port, err = s.reserve(p); err != nil {
		return nil, err
	}
	if p.cluster {
		if s.bus, err = s.reserve(p); err != nil {
			return nil, err
		}
	}
	if s.dir == "" {
		if s.temp, err = newDataDir(); err != nil {
			return nil, err
		}
		s.dir = s.temp.path
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return nil, fmt.Errorf("localredis: %w", err)
	}
	s.args, err = p.arguments(s)
	return s, err
}

func (s *Server) reserve(p plan) (int, error) {
	reserve := p.reserve
	if reserve == nil {
		reserve = reservePort
	}
	r, err := reserve()
	if err != nil {
		return 0, fmt.Errorf("localredis: %w", err)
	}
	s.held = append(s.held, r)
	return r.port, nil
}

func (p plan) arguments(s *Server) ([]string, error) {
	if p.sentinel != nil {
		return p.sentinelArguments(s)
	}
	args := []string{
		"--port", strconv.Itoa(s.port),
		"--bind", "127.0.0.1",
		"--dir", s.dir,
		"--logfile", "",
		"--daemonize", "no",
		"--save", "",
		"--appendonly", "yes",
		"--appendfsync", "no",
		// A replica is wanted at once, not after the default 5 s in which more
		// of them might ask for the same snapshot.
		"--repl-diskless-sync-delay", "0",
	}
	if p.cluster {
		args = append(args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(s.bus))
	}
	return slices.Concat(args, p.Args), nil
}

// sentinelArguments writes the configuration file, which a sentinel rewrites
// with what it learns and reads again when it is restarted.
func (p plan) sentinelArguments(s *Server) ([]string, error) {
	lines := append([]string{
		"port " + strconv.Itoa(s.port),
		"bind 127.0.0.1",
		fmt.Sprintf("dir %q", s.dir),
		`logfile ""`,
	}, p.sentinel...)
	file := filepath.Join(s.dir, "sentinel.conf")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("localredis: %w", err)
	}
	return append([]string{file, "--sentinel"}, p.Args...), nil
}
