package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const (
	// watchPause is the time between attempts to watch a container when the
	// daemon has closed the connection.
	watchPause = 100 * time.Millisecond

	// logTimeout bounds the reading of a log.
	logTimeout = 5 * time.Second

	// shortLine is a guess of how short lines of a log are on average, in bytes:
	// docker counts lines.
	shortLine = 32
)

// run is one life of the server in a container.
type run struct {
	done chan struct{} // closed when it has ended
	err  error         // how it ended; readable after done
	stop func()        // ends the watching and waits for it

	number int // counts the runs of a container

	blackholes map[netip.Addr]bool      // routes in its network namespace; under Maker.cutMu
	sidecar    testcontainers.Container // shares that namespace, nil for none; under Container.mu
}

func (r *run) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// watch returns the run that has just been started. A goroutine waits for its
// end, another one copies its log if somebody wants it; both end with the run or
// with stop, which waits for them.
func (c *Container) watch(number int) *run {
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{done: make(chan struct{}), number: number}
	copied := make(chan struct{})
	r.stop = func() {
		cancel()
		<-r.done
		<-copied
	}
	go func() {
		defer close(r.done)
		r.err = c.awaitExit(ctx)
	}()
	go func() {
		defer close(copied)
		if c.maker.log != nil {
			c.copyLog(ctx)
		}
	}()
	return r
}

// awaitExit blocks until the container does not run any more and returns how it
// ended, as an error unless that was with status 0.
func (c *Container) awaitExit(ctx context.Context) error {
	for {
		wait := c.maker.api.ContainerWait(ctx, c.id,
			client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		select {
		case result := <-wait.Result:
			return exitError(result)
		case err := <-wait.Error:
			if ctx.Err() != nil || errdefs.IsNotFound(err) {
				return errors.New("the container is removed")
			}
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

func exitError(result container.WaitResponse) error {
	const signalled = 128 // what a status is above when a signal ended the process
	switch {
	case result.Error != nil:
		return fmt.Errorf("the container ended: %s", result.Error.Message)
	case result.StatusCode > signalled:
		return fmt.Errorf("exit status %d (signal %d)", result.StatusCode, result.StatusCode-signalled)
	case result.StatusCode != 0:
		return fmt.Errorf("exit status %d", result.StatusCode)
	}
	return nil
}

// copyLog copies what the current run prints to the maker's log.
func (c *Container) copyLog(ctx context.Context) {
	found, err := c.maker.api.ContainerInspect(ctx, c.id, client.ContainerInspectOptions{})
	if err == nil {
		err = c.readLog(ctx, c.maker.log, client.ContainerLogsOptions{
			Follow: true,
			Since:  found.Container.State.StartedAt,
		})
	}
	if ctx.Err() == nil {
		c.maker.note(err)
	}
}

// readLog writes what the server printed to out, without telling the two streams
// apart.
func (c *Container) readLog(ctx context.Context, out io.Writer, options client.ContainerLogsOptions) error {
	options.ShowStdout, options.ShowStderr = true, true
	stream, err := c.maker.api.ContainerLogs(ctx, c.id, options)
	if err != nil {
		return fmt.Errorf("docker: log of %s: %w", c.Name(), err)
	}
	defer func() { _ = stream.Close() }() // it was read only
	if _, err := stdcopy.StdCopy(out, out, stream); err != nil {
		return fmt.Errorf("docker: log of %s: %w", c.Name(), err)
	}
	return nil
}

// Log implements [redisnode.Machine]. It asks the daemon, for at most 5 s; what
// keeps it from answering is in the text.
func (c *Container) Log(n int) string {
	c.mu.Lock()
	removed, kept := c.removed, c.kept
	c.mu.Unlock()
	if removed {
		return lastLines(kept, n)
	}
	return c.fetchLog(n)
}

func (c *Container) fetchLog(n int) string {
	ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
	defer cancel()
	var text bytes.Buffer
	err := c.readLog(ctx, &text, client.ContainerLogsOptions{Tail: strconv.Itoa(n/shortLine + 1)})
	if err != nil {
		fmt.Fprintln(&text, err)
	}
	return lastLines(text.String(), n)
}

// lastLines returns at most n bytes from the end of text, from the start of a
// line.
func lastLines(text string, n int) string {
	if len(text) <= n {
		return text
	}
	cut := len(text) - n
	if text[cut-1] == '\n' {
		return text[cut:]
	}
	_, rest, _ := strings.Cut(text[cut:], "\n")
	return rest
}

// exec runs a shell script in a container as root, waits for its end, and
// returns an error with its output unless it succeeds.
func (m *Maker) exec(ctx context.Context, id, script string) error {
	made, err := m.api.ExecCreate(ctx, id, client.ExecCreateOptions{
		User: "0", Cmd: []string{"sh", "-c", script}, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	attached, err := m.api.ExecAttach(ctx, made.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	// The connection knows nothing of ctx.
	stop := context.AfterFunc(ctx, attached.Close)
	defer stop()
	var output bytes.Buffer
	if _, err := stdcopy.StdCopy(&output, &output, attached.Reader); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("read output of %q: %w", script, err)
	}
	ended, err := m.api.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil {
		return err
	}
	if ended.ExitCode != 0 {
		return fmt.Errorf("%q: exit status %d: %s", script, ended.ExitCode, strings.TrimSpace(output.String()))
	}
	return nil
}
