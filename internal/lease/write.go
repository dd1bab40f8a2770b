package lease

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/envelope"
	"github.com/fleetcache/fleetcache/internal/near"
)

// Outcome is the answer to a write.
type Outcome int64

// The answers to a write.
const (
	Refused    Outcome = iota // the claim it was loaded under is gone
	Stored                    // it is the value now
	Superseded                // the value there has a newer user version
)

// A Write is an envelope to be stored.
type Write struct {
	Key      string
	Envelope []byte
	TTL      time.Duration
	// Versioned reports that the envelope carries a user version, which must
	// not replace a newer one.
	Versioned bool
	// Track asks for a tracked read of the stored value right behind the
	// write, so that it can be kept in memory.
	Track bool
}

// Fill stores a value loaded under a claim, if the claim still stands.
func (c *Client) Fill(ctx context.Context, w Write, token string) (Outcome, Value, error) {
	o, v, err := c.write(ctx, fillScript, w, token)
	if err == nil && o == Stored {
		c.tellLater(v.change(w.Key))
	}
	return o, v, err
}

// Set stores a value written at its source and voids every claim on the key.
func (c *Client) Set(ctx context.Context, w Write) (Outcome, Value, error) {
	o, v, err := c.write(ctx, setScript, w)
	if err == nil {
		err = c.tell(ctx, v.change(w.Key))
		v.keepUnless(err, c.table)
	}
	return o, v, err
}

// keepUnless lets go of the entry of a write that others could not be told of.
func (v *Value) keepUnless(err error, t *near.Table) {
	if err != nil && v.Entry != nil {
		t.Release(v.Entry)
		v.Entry = nil
	}
}

func (c *Client) write(ctx context.Context, s *script, w Write, token ...string) (Outcome, Value, error) {
	keys := []string{w.Key, Key(w.Key)}
	args := append(token, rueidis.BinaryString(w.Envelope), millis(w.TTL), flag(w.Versioned))
	if !w.Track {
		res, err := c.do(ctx, s, keys, args)
		return outcome(res, err), Value{}, err
	}
	ask := c.table.Ask(w.Key, false)
	res, err := c.do(ctx, s, keys, args, func() []rueidis.Completed { return c.head(w.Key) })
	o := outcome(res, err)
	if err != nil || o != Stored {
		ask.Drop()
		return o, Value{}, err
	}
	return o, c.behind(ask, w, last(res)), nil
}

// head reads the head of a value: enough to be registered for its pushes, and
// to recognise it. Nothing, where the writer itself tells of changes.
func (c *Client) head(k string) []rueidis.Completed {
	if c.teller != nil {
		return nil
	}
	return c.tracked(nil, k, pinned(c.c.B().Getrange().Key(k).Start(0).End(envelope.OffWriteID+7).Build()))
}

// behind claims the entry of the tracked read behind a write, if what it read
// is what was written.
func (c *Client) behind(ask near.Ask, w Write, r rueidis.RedisResult) Value {
	if c.teller != nil {
		return Value{Raw: w.Envelope, Left: w.TTL, At: ask.At(), Entry: ask.Take(nil)}
	}
	head, err := r.AsBytes()
	if err != nil || Seen(head) != Seen(w.Envelope) {
		ask.Drop()
		return Value{}
	}
	return Value{Raw: w.Envelope, Left: w.TTL, At: ask.At(), Entry: ask.Take(head)}
}

func outcome(res []rueidis.RedisResult, err error) Outcome {
	if err != nil || len(res) == 0 {
		return Refused
	}
	n, _ := res[0].AsInt64()
	return Outcome(n)
}

// Delete removes the value and voids every claim on the key. It reports
// whether there was a value or a claim.
func (c *Client) Delete(ctx context.Context, k string) (found bool, err error) {
	err = retry(ctx, func() error {
		n, err := c.c.Do(ctx, c.c.B().Del().Key(k, Key(k)).Build()).AsInt64()
		found = n > 0
		return err
	})
	if err == nil {
		err = c.tell(ctx, Change{Key: k})
	}
	return found, err
}

// DeleteUnless is [Client.Delete] unless the value is the one of an envelope
// that begins with the bytes that [Seen] returned; "" for none. With versioned
// the user version of the value stays, without the value.
func (c *Client) DeleteUnless(ctx context.Context, k, seen string, versioned bool) error {
	_, err := c.do(ctx, resetScript, []string{k, Key(k)}, []string{seen, flag(versioned)})
	if err == nil {
		err = c.tell(ctx, Change{Key: k})
	}
	return err
}

// Expire marks the value stale and voids every claim on the key. It reports
// whether there was a value.
func (c *Client) Expire(ctx context.Context, k string) (bool, error) {
	res, err := c.do(ctx, expireScript, []string{k, Key(k)}, nil)
	if err != nil {
		return false, err
	}
	n, err := res[0].AsInt64()
	if err == nil {
		err = c.tell(ctx, Change{Key: k})
	}
	return n == 1, err
}
