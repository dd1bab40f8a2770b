package redisnode

import (
	"context"
	"fmt"
	"strconv"
)

// WaitHealthy blocks until every server and sentinel answers, the sentinels
// agree on a master and know everybody else, and every other data server gets
// every write of that master.
func (d *Sentinel) WaitHealthy(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	_, err := d.awaitHealthy(ctx)
	return err
}

func (d *Sentinel) awaitHealthy(ctx context.Context) (master *Server, err error) {
	err = poll(ctx, "wait for the sentinels and their master", func(ctx context.Context) error {
		if err := d.checkSentinels(ctx); err != nil {
			return err
		}
		if master, err = d.agreed(ctx); err != nil {
			return err
		}
		for _, s := range d.data.nodes {
			if err := checkRole(ctx, s, master); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	return master, err
}

// agreed returns the master that all sentinels name.
func (d *Sentinel) agreed(ctx context.Context) (*Server, error) {
	var master *Server
	for _, s := range d.sentinels {
		known, err := d.ask(ctx, s)
		if err != nil {
			return nil, err
		}
		named := d.named(known)
		if named == nil || master != nil && named != master {
			return nil, fmt.Errorf("sentinel %s names %s port %s", s, known["ip"], known["port"])
		}
		master = named
	}
	return master, nil
}

// Reset makes everything work again and deletes all data: it ends isolation and
// cuts of replication, starts and thaws servers and sentinels, undoes
// [Server.SetConfig], ends CLIENT PAUSE, and blocks as [Sentinel.WaitHealthy].
// The master stays the one that the sentinels have agreed on.
func (d *Sentinel) Reset(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := d.data.revive(ctx); err != nil {
		return err
	}
	if err := revive(d.sentinels); err != nil {
		return err
	}
	if err := d.follow(ctx); err != nil {
		return err
	}
	master, err := d.awaitHealthy(ctx)
	if err != nil {
		return err
	}
	return d.data.empty(ctx, master)
}

// follow makes every data server replicate the master that the sentinels agree
// on. They would do it too, some seconds later.
func (d *Sentinel) follow(ctx context.Context) error {
	var master *Server
	err := poll(ctx, "wait until the sentinels agree", func(ctx context.Context) (err error) {
		master, err = d.agreed(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return replicateAll(ctx, d.data.others(master), master)
}

// checkSentinels returns nil if every sentinel is content and knows everybody.
func (d *Sentinel) checkSentinels(ctx context.Context) error {
	for _, s := range d.sentinels {
		if !s.Responsive() {
			return fmt.Errorf("sentinel %s is killed or frozen", s)
		}
		known, err := d.ask(ctx, s)
		if err != nil {
			return err
		}
		info, err := s.doString(ctx, "INFO", "sentinel")
		if err != nil {
			return err
		}
		if infoField(info, "sentinel_tilt") != "0" {
			return fmt.Errorf("sentinel %s is in tilt mode", s)
		}
		for _, want := range [][2]string{
			{"flags", "master"},
			{"num-slaves", strconv.Itoa(d.cfg.Replicas)},
			{"num-other-sentinels", strconv.Itoa(d.cfg.Sentinels - 1)},
		} {
			if got := known[want[0]]; got != want[1] {
				return fmt.Errorf("sentinel %s has %s %q, want %q", s, want[0], got, want[1])
			}
		}
	}
	return nil
}
