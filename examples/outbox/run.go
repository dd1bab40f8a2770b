package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

const (
	cacheCount = 3
	orderCount = 20
	// patience is how long the end of a run may stand still before what has not
	// come is taken for lost.
	patience = 3 * time.Second
)

// result is what a run has found.
type result struct {
	orders, kills, delivered, duplicates, lost, stale int
}

// stage is what a run plays on.
type stage struct {
	cfg    config
	out    io.Writer
	dir    string
	url    string
	stream string
	db     *Database
	caches []*Cache
	seen   *deliveries
}

// run performs the show.
func run(ctx context.Context, cfg config, out io.Writer) (r result, err error) {
	s := &stage{cfg: cfg, out: out, url: cfg.redis, seen: &deliveries{times: map[int64]int{}}}
	if s.dir, err = os.MkdirTemp("", "outbox-"); err != nil {
		return r, err
	}
	defer os.RemoveAll(s.dir) //nolint:errcheck // it is in the system's temporary directory
	if s.db, err = OpenDatabase(ctx, s.dir); err != nil {
		return r, err
	}
	defer s.db.Close() //nolint:errcheck // its file goes next
	if s.url == "" {
		var closeIt func()
		if s.url, closeIt, err = serve(); err != nil {
			return r, err
		}
		defer closeIt()
	}
	// Each run has keys of its own, and takes them away at its end.
	prefix := fmt.Sprintf("outbox-%08x", rand.Uint32())
	s.stream = prefix + ":events"
	ctx, cancel := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	for range cacheCount {
		m, err := rc.Open(ctx, s.url, rc.Options{Prefix: prefix, OpTimeout: 2 * time.Second})
		if err != nil {
			return r, err
		}
		defer m.Close() //nolint:errcheck // nothing is left to be sent
		following.Add(1)
		c, err := NewCache(ctx, m, s.db, s.stream, s.seen, func(err error) {
			if !errors.Is(err, context.Canceled) && !errors.Is(err, rc.ErrClosed) {
				fmt.Fprintln(s.out, "a cache no longer follows the stream:", err)
			}
			following.Done()
		})
		if err != nil {
			following.Done()
			return r, err
		}
		s.caches = append(s.caches, c)
	}
	defer s.tidy()
	return s.play(ctx)
}

// tidy removes what the run has left in Redis.
func (s *stage) tidy() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := s.caches[0]
	_, err := c.orders.InvalidatePattern(ctx, "*")
	client := c.manager.Client()
	for _, k := range []string{s.stream, s.stream + ":dead"} {
		err = errors.Join(err, client.Do(ctx, client.B().Del().Key(k).Build()).Error())
	}
	if err != nil {
		fmt.Fprintln(s.out, "could not remove all keys of this run:", err)
	}
}

// play changes orders while the relay is killed, and then looks what is left.
func (s *stage) play(ctx context.Context) (r result, err error) {
	fmt.Fprintf(s.out, "%d caches, %d orders that change %d times, a relay that is killed %d times\n",
		cacheCount, orderCount, s.cfg.changes, s.cfg.kills)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for _, c := range s.caches { // so that there is something cached that can be stale
		work.Go(func() {
			for ctx.Err() == nil {
				_, _ = c.Order(ctx, rand.Int64N(orderCount)) // a failure shows at the end
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	changed := make(chan error, 1)
	go func() { changed <- s.change(ctx) }() // received below, or ends with ctx
	if r.kills, err = s.killRelays(ctx); err != nil {
		return r, err
	}
	if err := <-changed; err != nil {
		return r, err
	}
	relay, err := s.startRelay(ctx)
	if err != nil {
		return r, err
	}
	defer relay.kill()
	if err := relay.steps(0, time.Second); err != nil { // it runs
		return r, err
	}
	go relay.drain() // ends with the relay
	if err := s.settle(ctx); err != nil {
		return r, err
	}
	r.orders = s.cfg.changes
	r.delivered, r.duplicates = s.seen.count()
	r.lost = r.orders - r.delivered
	r.stale, err = s.stale(ctx)
	return r, err
}

// change makes the changes, spread over the time in which relays are killed.
func (s *stage) change(ctx context.Context) error {
	for n := range s.cfg.changes {
		if err := s.db.Change(ctx, rand.Int64N(orderCount), int64(n+1)); err != nil {
			return fmt.Errorf("change an order: %w", err)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// settle waits until all is delivered and acknowledged, or nothing happens any
// more.
func (s *stage) settle(ctx context.Context) error {
	type state struct {
		delivered, total int
		acked            uint64
	}
	var last state
	since := time.Now()
	for {
		var now state
		var duplicates int
		now.delivered, duplicates = s.seen.count()
		now.total = now.delivered + duplicates
		for _, c := range s.caches {
			now.acked += c.manager.EventStats().Acked
		}
		if now.delivered == s.cfg.changes && now.acked == uint64(now.total) {
			unsent, err := s.db.Unsent(ctx, 1)
			if err != nil || len(unsent) == 0 {
				return err
			}
		}
		if now != last {
			last, since = now, time.Now()
		}
		if time.Since(since) > patience {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stale counts the orders that a cache shows otherwise than the database. A push
// may still be on its way, so it gives each the time a push may take.
func (s *stage) stale(ctx context.Context) (n int, err error) {
	for i, c := range s.caches {
		for id := range int64(orderCount) {
			want, err := s.db.Order(ctx, id)
			if err != nil {
				return n, err
			}
			var got Order
			for end := time.Now().Add(rc.DefaultMaxStaleness); ; {
				last := time.Now().After(end) // only what is read after that counts
				if got, err = c.Order(ctx, id); err != nil {
					return n, err
				}
				if got == want || last {
					break
				}
			}
			if got != want {
				n++
				fmt.Fprintf(s.out, "cache %d shows version %d of order %d, the database has %d\n", i+1, got.Version, id, want.Version)
			}
		}
	}
	return n, nil
}

// killRelays runs one relay after the other, and kills each after some of its
// steps.
func (s *stage) killRelays(ctx context.Context) (kills int, err error) {
	for kills < s.cfg.kills {
		relay, err := s.startRelay(ctx)
		if err != nil {
			return kills, err
		}
		// The relay says a step right after it, so it dies before the next one.
		steps := 1 + rand.IntN(max(2, 3*s.cfg.changes/max(1, s.cfg.kills)))
		err = relay.steps(steps, 250*time.Millisecond)
		relay.kill()
		if err != nil {
			return kills, err
		}
		kills++
	}
	return kills, nil
}

// A relayProcess is a relay that runs.
type relayProcess struct {
	cmd   *exec.Cmd
	lines chan string // closed at the end of its output
}

func (s *stage) startRelay(ctx context.Context) (*relayProcess, error) {
	cmd := exec.CommandContext(ctx, s.cfg.relay[0], s.cfg.relay[1:]...)
	cmd.Env = append(os.Environ(), relayEnv+"="+s.dir, redisEnv+"="+s.url, streamEnv+"="+s.stream)
	if s.cfg.broken {
		cmd.Env = append(cmd.Env, brokenEnv+"=1")
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &relayProcess{cmd: cmd, lines: make(chan string)}
	go func() { // ends with the process, whose lines kill takes
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	return p, nil
}

// steps waits until the relay runs and has done n steps, or nothing for some
// time because the outbox is empty.
func (p *relayProcess) steps(n int, quiet time.Duration) error {
	wait := 30 * time.Second // for it to start
	for range 1 + n {
		select {
		case _, ok := <-p.lines:
			if !ok {
				return errors.New("the relay has ended by itself")
			}
			wait = quiet
		case <-time.After(wait):
			if wait != quiet {
				return errors.New("the relay does not start")
			}
			return nil
		}
	}
	return nil
}

// kill ends the relay as kill -9 does, and waits until it is gone.
func (p *relayProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	p.drain()
	_ = p.cmd.Wait() // says that it was killed
}

// drain takes what the relay says until its end.
func (p *relayProcess) drain() {
	for range p.lines { //nolint:revive // nothing to do with them
	}
}

// serve runs a Redis in this process that others can connect to.
func serve() (url string, closeIt func(), err error) {
	srv := rctest.Start()
	url, stop, err := listen(srv)
	if err != nil {
		srv.Close()
		return "", nil, err
	}
	return url, func() { stop(); srv.Close() }, nil
}
