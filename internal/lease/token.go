package lease

import (
	"context"
	_ "embed"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/near"
)

//go:embed scripts/maketoken.lua
var makeTokenSrc string

//go:embed scripts/expiretoken.lua
var expireTokenSrc string

var (
	makeTokenScript   = newScript(makeTokenSrc)
	expireTokenScript = newScript(expireTokenSrc)
)

// A Token stands for a tag or a namespace at one time. Values are stored with
// the tokens of their tags; they are good while those are the current ones. The
// upper 48 bits are random and replaced by a purge, the lower 16 count the
// expirations since. Zero is no token.
type Token uint64

// NewToken returns a token that no other process has ever made.
func NewToken() Token {
	for {
		if t := Token(rand.Uint64() << 16); t != 0 {
			return t
		}
	}
}

// ParseToken reads a token as it is stored. It returns zero for what is none.
func ParseToken(raw []byte) Token {
	if len(raw) != 8 {
		return 0
	}
	return Token(binary.BigEndian.Uint64(raw))
}

// SamePurge reports whether no purge lies between two tokens.
func (t Token) SamePurge(o Token) bool { return t != 0 && t>>16 == o>>16 }

func (t Token) bytes() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(t))
	return string(b[:])
}

// A Mark names the token of a tag or namespace.
type Mark struct {
	Key string
	// Guard is a key in the same slot that changes with every tag of its
	// group, see package rc; "" for none.
	Guard string
}

// MakeTokens reads tokens, tracked, and makes those that do not exist: one round
// trip per node and chunk. It prolongs those that end soon.
func (c *Client) MakeTokens(ctx context.Context, keys []string, ttl time.Duration) []ValueOr {
	asks := make([]near.Ask, len(keys))
	for i, k := range keys {
		asks[i] = c.table.Ask(k, false)
	}
	b := c.c.B()
	res := c.scripts(ctx, len(keys), func(i int, whole bool) rueidis.Completed {
		return makeTokenScript.cmd(b, whole, keys[i:i+1], []string{NewToken().bytes(), millis(ttl)})
	}, func(i int) []rueidis.Completed {
		k := keys[i]
		return c.tracked([]rueidis.Completed{pinned(b.Pttl().Key(k).Build())}, k, pinned(b.Get().Key(k).Build()))
	})
	out := make([]ValueOr, len(keys))
	for i, r := range res {
		v, err := ValueOr{}, r[0].Error()
		if err == nil {
			v.Value, err = value(last(r), r[1])
		}
		v.At, v.Err = asks[i].At(), err
		if err != nil || v.Raw == nil || v.Left <= 0 {
			asks[i].Drop()
		} else {
			v.Entry = asks[i].Take(v.Raw)
		}
		out[i] = v
	}
	return out
}

// PurgeTokens replaces tokens: whatever was stored with the old ones is gone.
// It takes one round trip per node and chunk, of one SET for each token, and
// one for its guard in front of it: who sees the new token has been told of the
// new guard. Errors are by token; sending one again does no harm.
func (c *Client) PurgeTokens(ctx context.Context, marks []Mark, ttl time.Duration) []error {
	errs := make([]error, len(marks))
	for at := 0; at < len(marks); at += chunk {
		part := marks[at:min(at+chunk, len(marks))]
		cmds := make([]rueidis.Completed, 0, 2*len(part))
		of := make([]int, 0, 2*len(part))
		set := func(i int, key string) {
			cmds = append(cmds, pinned(c.c.B().Set().Key(key).Value(NewToken().bytes()).PxMilliseconds(max(1, ttl.Milliseconds())).Build()))
			of = append(of, at+i)
		}
		for i, m := range part {
			if m.Guard != "" {
				set(i, m.Guard)
			}
			set(i, m.Key)
		}
		for n, r := range c.c.DoMulti(ctx, cmds...) {
			if err := r.Error(); err != nil && errs[of[n]] == nil {
				errs[of[n]] = err
			}
		}
	}
	c.tellMarks(ctx, marks, errs)
	return errs
}

// ExpireTokens makes whatever was stored with the tokens stale: one round trip
// per node and chunk. Errors are by token. A token that is expired twice has
// moved on twice, which is the same for what was stored with it.
func (c *Client) ExpireTokens(ctx context.Context, marks []Mark, ttl time.Duration) []error {
	res := c.scripts(ctx, len(marks), func(i int, whole bool) rueidis.Completed {
		keys := []string{marks[i].Key}
		if g := marks[i].Guard; g != "" {
			keys = append(keys, g)
		}
		return expireTokenScript.cmd(c.c.B(), whole, keys, []string{NewToken().bytes(), millis(ttl), NewToken().bytes()})
	}, nil)
	errs := firstErrors(res)
	c.tellMarks(ctx, marks, errs)
	return errs
}

func firstErrors(res [][]rueidis.RedisResult) []error {
	errs := make([]error, len(res))
	for i, r := range res {
		errs[i] = r[0].Error()
	}
	return errs
}
