package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
)

// availableTimeout bounds Available.
const availableTimeout = 5 * time.Second

// Available reports whether a docker daemon answers, by a nil error, within five
// seconds: a busy one needs more than one. The error says what is missing.
// testcontainers looks for the daemon once per process, so one that is started
// later is not found.
func Available(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, availableTimeout,
		fmt.Errorf("no answer within %s", availableTimeout))
	defer cancel()
	provider, err := connect(ctx, nil)
	if err != nil {
		return err
	}
	defer provider.Close()
	pong, err := provider.Client().Ping(ctx, client.PingOptions{})
	switch {
	case ctx.Err() != nil:
		return noDaemon(context.Cause(ctx))
	case err != nil:
		return noDaemon(err)
	case pong.OSType == "windows":
		return errors.New("docker: the daemon runs Windows containers, and Linux containers are needed")
	}
	return nil
}

func noDaemon(err error) error {
	return fmt.Errorf("docker: no daemon answers; start one, or point DOCKER_HOST at one: %w", err)
}

// connect returns a client of the daemon that testcontainers finds. What
// testcontainers has to say goes to out, or nowhere if out is nil.
func connect(ctx context.Context, out io.Writer) (*testcontainers.DockerProvider, error) {
	type result struct {
		provider *testcontainers.DockerProvider
		err      error
	}
	logger := log.NewNoopLogger()
	if out != nil {
		logger = stdlog.New(out, "testcontainers: ", 0)
	}
	hushBanner()
	done := make(chan result, 1)
	// testcontainers takes no context here, and asks the daemon the first time.
	// The goroutine ends when the daemon has answered or refused.
	go func() {
		provider, err := testcontainers.NewDockerProvider(testcontainers.WithLogger(logger),
			testcontainers.WithDefaultBridgeNetwork(testcontainers.Bridge))
		done <- result{provider, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, noDaemon(r.err)
		}
		return r.provider, nil
	case <-ctx.Done():
		return nil, noDaemon(context.Cause(ctx))
	}
}

var hushOnce sync.Once

// hushBanner keeps two things from standard error that testcontainers prints
// through its global logger alone, whatever logger it was given: the banner of
// the first connection and the life of its Ryuk. Everything else passes, for
// programs that use testcontainers themselves.
func hushBanner() {
	hushOnce.Do(func() { log.SetDefault(hushed{log.Default()}) })
}

type hushed struct{ next log.Logger }

func (h hushed) Printf(format string, args ...any) {
	if strings.Contains(format, "Connected to docker") || strings.Contains(format, "Reaper ") {
		return
	}
	h.next.Printf(format, args...)
}
