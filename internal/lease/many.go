package lease

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/near"
)

// chunk is how many keys go into one pipeline. rueidis sends pipelines of more
// than 2,000 commands over connections of their own, which have no feed.
const chunk = 256

// Each method below does for many keys what its namesake does for one: one
// round trip per node and chunk, all nodes at once. The results are in the
// order of the keys, each with an error of its own. Unlike the namesake it
// does not send again after a lost connection.

// ValueOr is a Value or the error of its key.
type ValueOr struct {
	Value
	Err error
}

// ReadMany is [Client.Read] of many keys, or [Client.Peek] if not tracked.
func (c *Client) ReadMany(ctx context.Context, keys []string, tracked bool) []ValueOr {
	out := make([]ValueOr, 0, len(keys))
	for part := range chunks(keys) {
		out = c.readChunk(ctx, part, tracked, out)
	}
	return out
}

func (c *Client) readChunk(ctx context.Context, keys []string, tracked bool, out []ValueOr) []ValueOr {
	at, b := c.table.Clock().Now(), c.c.B()
	cmds := make([]rueidis.Completed, 0, 3*len(keys))
	asks := make([]near.Ask, 0, len(keys))
	for _, k := range keys {
		cmds = append(cmds, pinned(b.Pttl().Key(k).Build()))
		get := pinned(b.Get().Key(k).Build())
		if tracked {
			asks = append(asks, c.table.Ask(k, false))
			cmds = c.tracked(cmds, k, get)
		} else {
			cmds = append(cmds, get)
		}
	}
	res := c.c.DoMulti(ctx, cmds...)
	step := len(cmds) / len(keys)
	for i := range keys {
		v, err := value(res[i*step+step-1], res[i*step])
		v.At = at
		switch {
		case !tracked:
		case err != nil || v.Raw == nil || v.Left <= 0:
			asks[i].Drop()
		default:
			v.Entry = asks[i].Take(v.Raw)
		}
		out = append(out, ValueOr{v, err})
	}
	return out
}

// Claim is what a key is claimed with; see [Client.Acquire].
type Claim struct{ Key, Seen, Token string }

// GrantOr is a Grant or the error of its key.
type GrantOr struct {
	Grant
	Err error
}

// AcquireMany is [Client.Acquire] of many keys.
func (c *Client) AcquireMany(ctx context.Context, claims []Claim, ttl time.Duration) []GrantOr {
	out := make([]GrantOr, len(claims))
	res := c.scripts(ctx, len(claims), func(i int, whole bool) rueidis.Completed {
		cl := claims[i]
		return acquireScript.cmd(c.c.B(), whole, []string{cl.Key, Key(cl.Key)}, []string{cl.Seen, cl.Token, millis(ttl)})
	}, nil)
	for i := range out {
		if out[i].Err = res[i][0].Error(); out[i].Err == nil {
			out[i].Err = out[i].parse(res[i][0])
		}
	}
	return out
}

// ExtendMany is [Client.Extend] of many claims. It reports, per claim, whether
// it is known to be gone.
func (c *Client) ExtendMany(ctx context.Context, claims []Claim, ttl time.Duration) (gone []bool) {
	res := c.scripts(ctx, len(claims), func(i int, whole bool) rueidis.Completed {
		return extendScript.cmd(c.c.B(), whole, []string{Key(claims[i].Key)}, []string{claims[i].Token, millis(ttl)})
	}, nil)
	gone = make([]bool, len(claims))
	for i := range gone {
		n, err := res[i][0].AsInt64()
		gone[i] = err == nil && n == 0
	}
	return gone
}

// ReleaseMany is [Client.Release] of many claims. Errors are of no use to
// anybody: a claim ends by itself.
func (c *Client) ReleaseMany(ctx context.Context, claims []Claim, text string, backoff time.Duration) {
	if backoff <= 0 {
		text, backoff = "", time.Millisecond
	}
	c.scripts(ctx, len(claims), func(i int, whole bool) rueidis.Completed {
		return releaseScript.cmd(c.c.B(), whole, []string{Key(claims[i].Key)}, []string{claims[i].Token, text, millis(backoff)})
	}, nil)
	changes := make([]Change, len(claims))
	for i, cl := range claims {
		changes[i].Key = Key(cl.Key)
	}
	c.tellLater(changes...)
}

// Written is the outcome of a write.
type Written struct {
	Outcome Outcome
	Value
	Err error
}

// FillMany is [Client.Fill] of many values; tokens are those of their claims.
func (c *Client) FillMany(ctx context.Context, writes []Write, tokens []string) []Written {
	out := c.writeMany(ctx, fillScript, writes, tokens)
	for i, w := range out {
		if w.Err == nil && w.Outcome == Stored {
			c.tellLater(w.change(writes[i].Key))
		}
	}
	return out
}

// SetMany is [Client.Set] of many values.
func (c *Client) SetMany(ctx context.Context, writes []Write) []Written {
	out := c.writeMany(ctx, setScript, writes, nil)
	c.tellMany(ctx, len(out), func(i int) (Change, *error) { return out[i].change(writes[i].Key), &out[i].Err })
	for i := range out {
		out[i].keepUnless(out[i].Err, c.table)
	}
	return out
}

func (c *Client) writeMany(ctx context.Context, s *script, writes []Write, tokens []string) []Written {
	asks := make([]near.Ask, len(writes))
	for i, w := range writes {
		if w.Track {
			asks[i] = c.table.Ask(w.Key, false)
		}
	}
	res := c.scripts(ctx, len(writes), func(i int, whole bool) rueidis.Completed {
		w := writes[i]
		var args []string
		if tokens != nil {
			args = append(args, tokens[i])
		}
		args = append(args, rueidis.BinaryString(w.Envelope), millis(w.TTL), flag(w.Versioned))
		return s.cmd(c.c.B(), whole, []string{w.Key, Key(w.Key)}, args)
	}, func(i int) []rueidis.Completed {
		if !writes[i].Track {
			return nil
		}
		return c.head(writes[i].Key)
	})
	out := make([]Written, len(writes))
	for i, w := range writes {
		out[i].Err = res[i][0].Error()
		out[i].Outcome = outcome(res[i], out[i].Err)
		switch {
		case !w.Track:
		case out[i].Err != nil || out[i].Outcome != Stored:
			asks[i].Drop()
		default:
			out[i].Value = c.behind(asks[i], w, last(res[i]))
		}
	}
	return out
}

// DeleteMany is [Client.Delete] of many keys. It returns the error of each.
func (c *Client) DeleteMany(ctx context.Context, keys []string) []error {
	errs := make([]error, 0, len(keys))
	for part := range chunks(keys) {
		cmds := make([]rueidis.Completed, len(part))
		for i, k := range part {
			cmds[i] = c.c.B().Del().Key(k, Key(k)).Build()
		}
		for _, r := range c.c.DoMulti(ctx, cmds...) {
			errs = append(errs, r.Error())
		}
	}
	c.tellMany(ctx, len(keys), func(i int) (Change, *error) { return Change{Key: keys[i]}, &errs[i] })
	return errs
}

// scripts runs one script per item, each followed by its further commands, and
// returns the results by item. Items whose node did not know the script are
// sent once more, with its text.
func (c *Client) scripts(ctx context.Context, n int, cmd func(i int, whole bool) rueidis.Completed, behind func(i int) []rueidis.Completed) [][]rueidis.RedisResult {
	out := make([][]rueidis.RedisResult, n)
	items := make([]int, n)
	for i := range items {
		items[i] = i
	}
	for _, whole := range []bool{false, true} {
		var again []int
		for part := range chunks(items) {
			c.scriptChunk(ctx, part, whole, cmd, behind, out)
			for _, i := range part {
				if missing(out[i][0].Error()) {
					again = append(again, i)
				}
			}
		}
		if items = again; len(items) == 0 {
			break
		}
	}
	return out
}

func (c *Client) scriptChunk(ctx context.Context, items []int, whole bool, cmd func(int, bool) rueidis.Completed, behind func(int) []rueidis.Completed, out [][]rueidis.RedisResult) {
	cmds := make([]rueidis.Completed, 0, 3*len(items))
	ends := make([]int, len(items))
	for n, i := range items {
		cmds = append(cmds, cmd(i, whole))
		if behind != nil {
			cmds = append(cmds, behind(i)...)
		}
		ends[n] = len(cmds)
	}
	res := c.c.DoMulti(ctx, cmds...)
	from := 0
	for n, i := range items {
		out[i] = res[from:ends[n]]
		from = ends[n]
	}
}

func flag(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

// chunks yields the parts of a slice that go into one pipeline each.
func chunks[E any](s []E) func(yield func([]E) bool) {
	return func(yield func([]E) bool) {
		for len(s) > 0 {
			n := min(chunk, len(s))
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}
