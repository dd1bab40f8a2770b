package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// What a relay process is told, in its environment: a URL may have a password,
// and arguments can be read by everybody on the machine.
const (
	relayEnv  = "OUTBOX_RELAY" // the directory of the database
	redisEnv  = "OUTBOX_REDIS"
	streamEnv = "OUTBOX_STREAM"
	brokenEnv = "OUTBOX_BROKEN"
)

// relayPause is between two looks at an outbox that is empty.
const relayPause = 5 * time.Millisecond

// relayStep is what each step takes besides: time to be killed in.
const relayStep = time.Millisecond

// A Relay carries messages from the outbox to the stream.
type Relay struct {
	db     *Database
	cache  *rc.Manager
	stream string
	broken bool
	// step is told what has just been done.
	step func(what string, id int64)
}

// Run carries messages until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		messages, err := r.db.Unsent(ctx, 20)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if err := r.carry(ctx, m); err != nil {
				return err
			}
		}
		if len(messages) == 0 {
			select {
			case <-time.After(relayPause):
			case <-ctx.Done():
			}
		}
	}
	return ctx.Err()
}

// carry appends one message and then marks it, in this order: whoever dies in
// between leaves a message that is appended again, and not one that never is.
func (r *Relay) carry(ctx context.Context, m Message) error {
	appendIt := func() error {
		_, err := rc.AppendEvent(ctx, r.cache, r.stream, json.RawMessage(m.Data), rc.EventName(m.Type))
		r.step("appended", m.ID)
		return err
	}
	mark := func() error {
		err := r.db.MarkSent(ctx, m.ID)
		r.step("marked", m.ID)
		return err
	}
	if r.broken {
		return errors.Join(mark(), appendIt())
	}
	if err := appendIt(); err != nil {
		return err // it is not marked, and comes again
	}
	return mark()
}

// relayMain is the relay process. It says every step it has done, and runs until
// it is killed or nobody listens any more.
func relayMain(stdout, stderr io.Writer) int {
	ctx := context.Background()
	err := func() error {
		db, err := OpenDatabase(ctx, os.Getenv(relayEnv))
		if err != nil {
			return err
		}
		m, err := rc.Open(ctx, os.Getenv(redisEnv), rc.Options{OpTimeout: 2 * time.Second})
		if err != nil {
			return err
		}
		r := &Relay{db: db, cache: m, stream: os.Getenv(streamEnv), broken: os.Getenv(brokenEnv) != "", step: func(what string, id int64) {
			if _, err := fmt.Fprintln(stdout, what, id); err != nil {
				os.Exit(1) // who started it is gone
			}
			time.Sleep(relayStep)
		}}
		r.step("ready", 0)
		return r.Run(ctx)
	}()
	fmt.Fprintln(stderr, "outbox: relay:", err)
	return 1
}
