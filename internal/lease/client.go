// Package lease holds what is said to Redis: the tracked read, the claim on a
// key (the lease), the fenced fill, and the writes that void claims. Each is
// one round trip to one node.
//
// A claim is a key next to the value, in the same hash slot, that holds the
// random token of one load. A fill stores its value only while the token is
// still there; every write of the value removes it. So a value whose load
// began before a write can never be stored after it, however late it comes,
// and a claim that its holder cannot give back ends with its time to live.
// The idea is that of the memcache lease (Nishtala et al., Scaling Memcache
// at Facebook, NSDI 2013).
package lease

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/internal/near"
)

// A Client speaks the protocol over one rueidis client. It is safe for
// concurrent use. Every method blocks for one round trip, or until its context
// ends. Those that run scripts take a second one for a server that does not know
// the script yet, and send again after a lost connection: all of them have the
// same effect twice as once. rueidis sends reads again by itself.
type Client struct {
	c       rueidis.Client
	table   *near.Table
	caching rueidis.Completed
	// teller tells others of changes; nil if the servers do.
	teller Teller
}

// New returns a Client. The rueidis client must have been made with the
// table's stores, one connection per node and AlwaysPipelining.
//
// With a [Teller] the client needs no stores, and reads are tracked by nothing
// but what others tell.
func New(c rueidis.Client, table *near.Table, teller Teller) *Client {
	return &Client{c: c, table: table, teller: teller, caching: marked(c.B().ClientCaching().Yes().Build().Pin())}
}

// Key returns the key of the claim on a value's key.
func Key(k string) string { return k + key.LeaseSuffix }

// marked makes rueidis pass the reply to the store of the connection, in the
// order of the stream.
func marked(c rueidis.Completed) rueidis.Completed {
	return rueidis.Completed(rueidis.Cacheable(c).ToStaticTTL())
}

// pinned keeps a command out of rueidis' pool. rueidis sends reads again when
// their connection dies, and recycles the command after the second answer, while
// the writer of the dead connection may still be reading it (v1.0.79).
func pinned(c rueidis.Completed) rueidis.Completed { return c.Pin() }

// tracked appends the commands of a read that the server is to announce changes
// of. The reply of the read is the last.
func (c *Client) tracked(cmds []rueidis.Completed, key string, read rueidis.Completed) []rueidis.Completed {
	if c.teller != nil {
		return append(cmds, read)
	}
	return append(cmds, c.caching.SetSlot(key), marked(read))
}

// last returns the last of a command's results.
func last(res []rueidis.RedisResult) rueidis.RedisResult { return res[len(res)-1] }

// retry runs send, and once more if the connection was lost meanwhile.
func retry(ctx context.Context, send func() error) error {
	err := send()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if _, ok := rueidis.IsRedisErr(err); ok || errors.Is(err, rueidis.ErrClosing) {
		return err
	}
	return send()
}

// do runs a pipeline that begins with a script, and once more with the whole
// script if the server did not know it.
func (c *Client) do(ctx context.Context, s *script, keys, args []string, behind ...func() []rueidis.Completed) (out []rueidis.RedisResult, err error) {
	whole := false
	send := func() error {
		cmds := make([]rueidis.Completed, 0, 1+len(behind))
		cmds = append(cmds, s.cmd(c.c.B(), whole, keys, args))
		for _, b := range behind {
			cmds = append(cmds, b()...)
		}
		if len(cmds) == 1 {
			out = []rueidis.RedisResult{c.c.Do(ctx, cmds[0])}
		} else {
			out = c.c.DoMulti(ctx, cmds...)
		}
		return out[0].Error()
	}
	err = retry(ctx, send)
	if missing(err) {
		whole = true
		err = retry(ctx, send)
	}
	return out, err
}

// A Value is what a read found.
type Value struct {
	// Raw is the stored bytes; nil if there is no such key. It must not be
	// changed.
	Raw []byte
	// Left is the time to live that was left when the read was sent, or a
	// little more than that; [Unspent] if the key was stored later. 0 if it
	// has none, or is about to end.
	Left time.Duration
	// At is when the read was sent, in the time of the table's clock.
	At int64
	// Entry is the claimed near entry of this reply, not yet published; nil
	// if the reply may not be kept.
	Entry *near.Entry
}

// Read gets a value, tracked: PTTL, CLIENT CACHING YES, GET in one pipeline.
// They need no transaction: if the key is replaced between the first and the
// last, its time to live is that of its predecessor, but the value says itself
// how long it was to live at most, and it was stored after the read was sent.
// rueidis gives a store no marked reply at the head of a pipeline, so PTTL
// comes first.
func (c *Client) Read(ctx context.Context, k string) (v Value, err error) {
	ask := c.table.Ask(k, false)
	b := c.c.B()
	cmds := c.tracked([]rueidis.Completed{pinned(b.Pttl().Key(k).Build())}, k, pinned(b.Get().Key(k).Build()))
	res := c.c.DoMulti(ctx, cmds...)
	v, err = value(last(res), res[0])
	v.At = ask.At()
	if err != nil || v.Raw == nil || v.Left <= 0 {
		ask.Drop()
		return v, err
	}
	v.Entry = ask.Take(v.Raw)
	return v, nil
}

// Peek gets a value without tracking it: PTTL, GET in one pipeline.
func (c *Client) Peek(ctx context.Context, k string) (v Value, err error) {
	at, b := c.table.Clock().Now(), c.c.B()
	res := c.c.DoMulti(ctx, pinned(b.Pttl().Key(k).Build()), pinned(b.Get().Key(k).Build()))
	v, err = value(res[1], res[0])
	v.At = at
	return v, err
}

// value reads the replies of GET and PTTL. A key of another type is no value
// of ours: not there, as far as a reader is concerned.
func value(get, pttl rueidis.RedisResult) (v Value, err error) {
	v.Raw, err = get.AsBytes()
	if rueidis.IsRedisNil(err) {
		return Value{}, nil
	}
	if re, ok := rueidis.IsRedisErr(err); ok && isWrongType(re) {
		return Value{Raw: []byte{}}, nil
	}
	if err != nil {
		return Value{}, err
	}
	left, err := pttl.AsInt64()
	switch {
	case err != nil:
		return Value{}, err
	case left == -2: // stored between PTTL and GET: nothing of its time is over
		v.Left = Unspent
	case left > 0:
		v.Left = time.Duration(left) * time.Millisecond
	}
	return v, nil
}

// Unspent is the time left of a value that was stored after the read was sent:
// all that it was to live.
const Unspent = time.Duration(1<<62 - 1)

func isWrongType(re *rueidis.RedisError) bool {
	s := re.Error()
	return len(s) >= 9 && s[:9] == "WRONGTYPE"
}

// Seen returns what a claim has to name as the value its caller has seen.
func Seen(raw []byte) string {
	if len(raw) <= envelope.OffWriteID {
		return ""
	}
	return string(raw[envelope.OffWriteID:min(len(raw), envelope.OffWriteID+8)])
}

// State is the answer to a claim.
type State int64

// The answers to a claim.
const (
	Granted State = iota // the caller may load and fill
	Changed              // the value is not the one the caller has seen
	Held                 // somebody else loads
	Backoff              // somebody else's load failed a moment ago
)

// A Grant is the answer to a claim, with what came along.
type Grant struct {
	State State
	// Left is how long the lease, or the backoff, still lasts.
	Left time.Duration
	// Text is the error to back off from.
	Text string
}

// Acquire claims the right to fill k.
func (c *Client) Acquire(ctx context.Context, k, seen, token string, ttl time.Duration) (g Grant, err error) {
	res, err := c.do(ctx, acquireScript, []string{k, Key(k)}, []string{seen, token, millis(ttl)})
	if err != nil {
		return g, err
	}
	return g, g.parse(res[0])
}

func (g *Grant) parse(r rueidis.RedisResult) error {
	arr, err := r.ToArray()
	if err != nil {
		return err
	}
	if len(arr) == 0 {
		return errors.New("acquire: empty answer")
	}
	code, err := arr[0].AsInt64()
	if err != nil {
		return err
	}
	g.State = State(code)
	if len(arr) > 1 {
		ms, _ := arr[1].AsInt64()
		g.Left = time.Duration(max(ms, 0)) * time.Millisecond
	}
	if len(arr) > 2 {
		g.Text, _ = arr[2].ToString()
	}
	return nil
}

// Watch reads the claim's key of k, tracked. It returns the token there, "" if
// there is none, and a watch that is killed when the key changes: the claim was
// filled, voided, prolonged, released or lost. The watch is nil if the key could
// not be tracked. EXISTS is there because a tracked read cannot be the head of a
// pipeline, see [Client.Read].
//
// The watch is a read of its own, and not of the claim's script: a script's own
// write to a key it has read is announced to us, and ends the watch, by some
// servers (Redis 7.0) and not by others (Valkey 8).
func (c *Client) Watch(ctx context.Context, k string) (w *near.Entry, token string, err error) {
	lk := Key(k)
	ask := c.table.Ask(lk, true)
	cmds := c.tracked([]rueidis.Completed{pinned(c.c.B().Exists().Key(lk).Build())}, lk, pinned(c.c.B().Get().Key(lk).Build()))
	b, err := last(c.c.DoMulti(ctx, cmds...)).AsBytes()
	if err != nil || len(b) == 0 {
		ask.Drop()
		if rueidis.IsRedisNil(err) {
			err = nil
		}
		return nil, "", err
	}
	if w = ask.Take(b); w != nil && !c.table.Publish(w, 1<<62) {
		w = nil
	}
	return w, string(b), nil
}

// Claimed reports whether what [Client.Watch] found is the token of a claim, and
// not nothing, nor the mark of a load that failed.
func Claimed(token string) bool { return token != "" && token[0] != '!' }

// Extend prolongs a claim and reports whether it still stood.
func (c *Client) Extend(ctx context.Context, k, token string, ttl time.Duration) (bool, error) {
	res, err := c.do(ctx, extendScript, []string{Key(k)}, []string{token, millis(ttl)})
	if err != nil {
		return false, err
	}
	n, err := res[0].AsInt64()
	return n == 1, err
}

// Release gives a claim back. With text, others are told to back off for the
// time given, and why.
func (c *Client) Release(ctx context.Context, k, token, text string, backoff time.Duration) error {
	if backoff <= 0 {
		text, backoff = "", time.Millisecond
	}
	_, err := c.do(ctx, releaseScript, []string{Key(k)}, []string{token, text, millis(backoff)})
	if err == nil {
		c.tellLater(Change{Key: Key(k)})
	}
	return err
}

func millis(d time.Duration) string {
	return strconv.FormatInt(max(1, d.Milliseconds()), 10)
}
