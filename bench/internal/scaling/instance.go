package scaling

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
	"github.com/fleetcache/fleetcache/rc"
)

// Env tells this program that it is an instance, if it is 1.
const Env = "FLEETCACHE_BENCH_INSTANCE"

// Main serves the parent if this process is an instance, until its standard
// input ends, and then reports true.
func Main() bool {
	if os.Getenv(Env) != "1" {
		return false
	}
	in := &instance{}
	workers.NewLink(os.Stdout, in.serve).Read(os.Stdin)
	if err := in.close(); err != nil {
		fmt.Fprintln(os.Stderr, "scaling: instance:", err)
	}
	return true
}

// instance is this process: one Manager and one service. The parent makes one
// call at a time.
type instance struct {
	manager *rc.Manager
	service *rc.CacheService[subject.Product]
	ear     ear
	watched chan watched // what the last watch came to
}

type watched struct {
	seen seen
	err  error
}

func (in *instance) serve(op string, body json.RawMessage) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if op != opOpen && in.manager == nil {
		return nil, fmt.Errorf("instance: %s before %s", op, opOpen)
	}
	switch op {
	case opOpen:
		return answer(body, func(a openArgs) (any, error) { return nil, in.open(ctx, a) })
	case opClose:
		return nil, in.close()
	case opSet:
		return answer(body, func(a setArgs) (any, error) { return nil, in.set(ctx, a) })
	case opHold:
		return answer(body, func(a valueArgs) (any, error) { return nil, in.hold(ctx, a) })
	case opWatch:
		return answer(body, func(a valueArgs) (any, error) { return nil, in.watch(a) })
	case opGone:
		select {
		case w := <-in.watched:
			return w.seen, w.err
		case <-ctx.Done():
			return nil, fmt.Errorf("nothing is watched: %w", ctx.Err())
		}
	case opInvalidate:
		return answer(body, func(a invalidateArgs) (any, error) { return in.invalidate(ctx, a) })
	case opPushes:
		return in.manager.Stats().Pushes, nil
	case opMix:
		return answer(body, func(a mixArgs) (any, error) { return in.mix(ctx, a) })
	case opExpire:
		return answer(body, func(a expireArgs) (any, error) { return in.expire(ctx, a) })
	}
	return nil, fmt.Errorf("instance: unexpected call %q", op)
}

// answer decodes the arguments of a call.
func answer[T any](body json.RawMessage, f func(T) (any, error)) (any, error) {
	a, err := workers.Decode[T](body)
	if err != nil {
		return nil, err
	}
	return f(a)
}

func (in *instance) open(ctx context.Context, a openArgs) error {
	m, err := rc.OpenClient(ctx, rueidis.ClientOption{InitAddress: []string{a.Addr}, DialCtxFn: in.ear.dial}, rc.Options{OpTimeout: opTimeout})
	if err != nil {
		return err
	}
	s, err := rc.New(m, "scaling", config[subject.Product](0))
	if err != nil {
		return errors.Join(err, m.Close())
	}
	in.manager, in.service, in.watched = m, s, make(chan watched, 1)
	return nil
}

func (in *instance) close() error {
	if in.manager == nil {
		return nil
	}
	err := in.manager.Close()
	in.manager, in.service = nil, nil
	return err
}

func (in *instance) set(ctx context.Context, a setArgs) error {
	for _, id := range a.IDs {
		opts := []rc.Opt{rc.WithTags(tagOf(id))}
		if a.TTL > 0 {
			opts = append(opts, rc.WithTTL(time.Duration(a.TTL)))
		}
		if err := in.service.Set(ctx, id, subject.NewProduct(a.N), opts...); err != nil {
			return err
		}
	}
	return nil
}

// errGone is the error of hold for a value that is not there.
var errGone = errors.New("the value is not there")

// hold reads until all values are in memory.
func (in *instance) hold(ctx context.Context, a valueArgs) error {
	for _, id := range a.IDs {
		err := await(ctx, "value "+id+" is in memory", func() (bool, error) {
			it, err := in.service.Lookup(ctx, id)
			if err == nil && !it.Found {
				err = fmt.Errorf("%s: %w", id, errGone)
			}
			return it.Source == rc.FromL1 && it.Value.ID == a.N, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *instance) invalidate(ctx context.Context, a invalidateArgs) (span, error) {
	out := span{Began: workers.Now()}
	for _, id := range a.IDs {
		var err error
		switch a.Verb {
		case verbDelete:
			err = in.service.Delete(ctx, id)
		case verbTag:
			err = in.manager.InvalidateTag(ctx, tagOf(id))
		default:
			err = fmt.Errorf("no verb %q", a.Verb)
		}
		if err != nil {
			return out, err
		}
	}
	out.Ended = workers.Now()
	return out, nil
}

// An ear hears when something arrives on a connection, so that nobody has to
// look again and again: with more processes than cores, looking would take the
// time that is measured.
type ear struct {
	mu      sync.Mutex // protects arrived
	arrived chan struct{}
	armed   atomic.Bool
}

// listen returns a channel that gets one element when something has arrived
// since the last was taken.
func (e *ear) listen() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.arrived = make(chan struct{}, 1)
	e.armed.Store(true)
	return e.arrived
}

func (e *ear) heard() {
	if !e.armed.Load() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case e.arrived <- struct{}{}:
	default:
	}
}

func (e *ear) dial(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &heardConn{c, e}, nil
}

type heardConn struct {
	net.Conn
	ear *ear
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.ear.heard()
	return n, err
}
