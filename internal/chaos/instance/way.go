//go:build unix

package instance

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/clustertest"
	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// way is how this instance reaches the cluster.
type way struct {
	link   *clustertest.Link
	dialed atomic.Uint64 // connections made
	first  atomic.Uint64 // those of them that were made before the work began
}

// newWay takes a clustertest.Exported.
func newWay(exported json.RawMessage) (*way, error) {
	e, err := workers.Decode[clustertest.Exported](exported)
	if err != nil {
		return nil, fmt.Errorf("instance: %w", err)
	}
	l, err := clustertest.NewLinkFrom(e)
	if err != nil {
		return nil, err
	}
	return &way{link: l}, nil
}

// option returns how the client of an instance connects. A late one notices a
// silent connection as late as rueidis does by itself, which is later than any
// fault lasts, and not when the library makes it: then the library's beats are
// alone in keeping the bound.
func (w *way) option(late bool) rueidis.ClientOption {
	o := w.link.ClientOption()
	dial := o.DialCtxFn
	o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
		c, err := dial(ctx, addr, d, cfg)
		if err == nil {
			w.dialed.Add(1)
		}
		return c, err
	}
	if late {
		o.ConnWriteTimeout = 10 * time.Second
	}
	return o
}

// begun notes that all connections there are at first have been made.
func (w *way) begun() { w.first.Store(w.dialed.Load()) }

// redialed returns how many connections were made since, most of them in place
// of one that was lost.
func (w *way) redialed() uint64 {
	if w.first.Load() == 0 {
		return 0
	}
	return w.dialed.Load() - w.first.Load()
}

// apply hurts the way or heals it.
func (w *way) apply(f LinkFault) error {
	switch f.Do {
	case "cut":
		w.link.Cut(f.Nodes...)
	case "blackhole":
		w.link.Blackhole(f.Nodes...)
	case "delay":
		w.link.Delay(f.Delay, f.Jitter, f.Nodes...)
	case "heal":
		w.link.Heal(f.Nodes...)
	case "update":
		e, err := workers.Decode[clustertest.Exported](f.Exported)
		if err != nil {
			return fmt.Errorf("instance: %w", err)
		}
		return w.link.Update(e)
	default:
		return fmt.Errorf("instance: no such fault of a link: %q", f.Do)
	}
	return nil
}
