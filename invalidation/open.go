package invalidation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetcache/fleetcache/internal/plainclient"
	"github.com/redis/rueidis"
)

// openTimeout limits Open if ctx has no earlier deadline.
const openTimeout = 10 * time.Second

// Open connects to a Redis deployment and returns a Bus that hears all
// partitions whose servers answer, and goes on trying to hear the others. It
// blocks until then, or ctx ends, 10 seconds at most. ctx has no influence on
// the Bus afterwards.
//
// It fails if no server answers, if the servers refuse a command that is needed
// (the package comment lists them), or if Prefix is in use with another number
// of partitions or mode.
//
// The client options are those of any rueidis client of the deployment. The Bus
// makes its own client from them, without cache, replicas and retries.
func Open(ctx context.Context, opt rueidis.ClientOption, cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	client, err := plainclient.Connect(ctx, plainclient.Option(opt, cfg.OpTimeout))
	if err != nil {
		return nil, fmt.Errorf("invalidation: open: %w", err)
	}
	b := newBus(cfg, client)
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("invalidation: open: %w", err), b.Close())
	}
	return b, nil
}

// start finds out the mode, begins to hear, and lets the rounds run.
func (b *Bus) start(ctx context.Context) error {
	if err := b.choose(ctx); err != nil {
		return err
	}
	b.round()
	for _, p := range b.parts {
		p.mu.Lock()
		err, line := p.err, p.line
		p.mu.Unlock()
		if line == nil && permanent(err) {
			for _, l := range b.lines {
				l.fail(err)
			}
			return fmt.Errorf("partition %d (%s): %w", p.index, p.channel, err)
		}
	}
	b.wg.Go(b.keep) // ends with Close, which waits for it
	return nil
}

// choose decides on the mode, and checks that all with this prefix agree on it
// and on the number of partitions. It tries again while servers do not answer.
func (b *Bus) choose(ctx context.Context) error {
	for {
		err := b.agree(ctx)
		if err == nil || permanent(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(maxRetry):
		}
	}
}

// errDisagree is in the error of an Open that would not hear the others.
var errDisagree = errors.New("prefix in use with other settings")

// permanent reports whether trying again does not help.
func permanent(err error) bool {
	if errors.Is(err, errDisagree) || unknownCommand(err) {
		return true
	}
	var re *rueidis.RedisError
	return errors.As(err, &re) && (strings.HasPrefix(re.Error(), "NOPERM") || strings.HasPrefix(re.Error(), "NOAUTH"))
}

// agree leaves the settings in Redis, or compares them with those it finds.
func (b *Bus) agree(ctx context.Context) error {
	mode := b.cfg.Mode
	if mode == Auto {
		var err error
		if mode, err = b.probe(ctx); err != nil {
			return fmt.Errorf("SPUBLISH: %w", err)
		}
	}
	key := b.cfg.Prefix + ":bus:config"
	want := settings(len(b.parts), mode)
	opCtx, cancel := b.opContext(ctx)
	defer cancel()
	err := b.client.Do(opCtx, b.client.B().Set().Key(key).Value(want).Nx().Build()).Error()
	if err != nil && !rueidis.IsRedisNil(err) {
		return fmt.Errorf("SET %s: %w", key, err)
	}
	got, err := b.client.Do(opCtx, b.client.B().Get().Key(key).Build()).ToString()
	if err != nil {
		return fmt.Errorf("GET %s: %w", key, err)
	}
	if got == settings(len(b.parts), Classic) && b.cfg.Mode == Auto {
		got, mode = want, Classic // which works wherever Sharded does
	}
	if got != want {
		return fmt.Errorf("%w: %s says %q, this Bus wants %q; use the same, or another Prefix", errDisagree, key, got, want)
	}
	b.mode = mode
	return nil
}

// settings is what all that want to hear each other have in common.
func settings(partitions int, mode Mode) string {
	return "partitions=" + strconv.Itoa(partitions) + " mode=" + mode.String()
}

// probe finds out whether all servers that answer have SPUBLISH.
func (b *Bus) probe(ctx context.Context) (Mode, error) {
	var last error
	known := false
	for _, node := range b.client.Nodes() {
		opCtx, cancel := b.opContext(ctx)
		err := node.Do(opCtx, node.B().Spublish().Channel(b.cfg.Prefix+":bus:probe").Message("").Build()).Error()
		cancel()
		switch {
		case unknownCommand(err):
			return Classic, nil
		case permanent(err):
			return Auto, err
		case err == nil || isRedis(err): // MOVED and the like come from a server that has it
			known = true
		default:
			last = err
		}
	}
	if known {
		return Sharded, nil
	}
	return Auto, last
}
