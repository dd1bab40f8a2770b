package lock

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis"
)

// rsKey is the key of the mutex "n" of these tests.
const rsKey = redlockKey

// poolBundle is redsync itself, on our pool, over five servers.
type poolBundle struct {
	servers []*localredis.Server
	ballot  *ballot
	rs      *redsync.Redsync
}

func setupPools(t *testing.T) *poolBundle {
	t.Helper()
	const n = 5
	b := &poolBundle{ballot: &ballot{votes: make([]vote, n)}}
	cfg := quick().withDefaults()
	var pools []redis.Pool
	for i := range n {
		s := localredis.Standalone(t, localredis.Redis)
		settle(t, s, "cache:redlock:{all}")
		node := newNode(s.Addr(), cfg, deploymentTag)
		mustErr(t, "connect", node.connect(t.Context(), option(s.Addr()), cfg), nil)
		t.Cleanup((*node.client.Load()).Close)
		b.servers = append(b.servers, s)
		pools = append(pools, pool{n: node, i: i, ballot: b.ballot, uncalled: &atomic.Uint64{}})
	}
	b.rs = redsync.New(pools...)
	return b
}

// mutex makes a mutex that tries once and gives nodes time.
func (b *poolBundle) mutex(ttl time.Duration, opts ...redsync.Option) *redsync.Mutex {
	return b.rs.NewMutex("n", append([]redsync.Option{redsync.WithTries(1), redsync.WithExpiry(ttl), redsync.WithTimeoutFactor(0.5)}, opts...)...)
}

// value returns what server i has under the key, nil for nothing.
func (b *poolBundle) value(t *testing.T, i int) any { return do(t, b.servers[i], "GET", rsKey) }

func (b *poolBundle) clear(t *testing.T) {
	t.Helper()
	for _, s := range b.servers {
		do(t, s, "DEL", rsKey)
	}
}

// What redsync promises with the pools it brings must hold with ours: for every
// set of nodes that are taken, a majority of the others is needed; who fails
// leaves nothing behind; who holds has the value on all free nodes.
func TestConformanceQuorum(t *testing.T) {
	t.Parallel()
	b := setupPools(t)
	for mask := range uint(1 << len(b.servers)) {
		b.clear(t)
		for i, s := range b.servers {
			if mask>>i&1 == 1 {
				do(t, s, "SET", rsKey, "other")
			}
		}
		m := b.mutex(time.Minute)
		err := m.TryLockContext(t.Context())
		granted := len(b.servers)-bits.OnesCount(mask) > len(b.servers)/2
		if granted != (err == nil) {
			t.Fatalf("mask %05b: TryLock = %v", mask, err)
		}
		var taken *redsync.ErrTaken
		if !granted && !errors.As(err, &taken) {
			t.Errorf("mask %05b: TryLock = %v, want ErrTaken", mask, err)
		}
		for i := range b.servers {
			want := any(nil)
			switch {
			case mask>>i&1 == 1:
				want = "other"
			case granted:
				want = m.Value()
			}
			if got := b.value(t, i); got != want {
				t.Errorf("mask %05b: server %d has %v, want %v", mask, i, got, want)
			}
		}
	}
}

// Extension, and what is not extended any more.
func TestConformanceExtend(t *testing.T) {
	t.Parallel()
	b := setupPools(t)
	m := b.mutex(time.Minute)
	mustErr(t, "Lock", m.TryLock(), nil)
	before := m.Until()
	for _, s := range b.servers {
		do(t, s, "PEXPIRE", rsKey, "10000")
	}
	ok, err := m.Extend()
	if !ok || err != nil || !m.Until().After(before) {
		t.Fatalf("Extend = %v, %v", ok, err)
	}
	for i, s := range b.servers {
		if ms, _ := do(t, s, "PTTL", rsKey).(int64); ms <= 10000 {
			t.Errorf("server %d has the key for %d ms after Extend", i, ms)
		}
	}
	if valid, err := m.ValidContext(t.Context()); !valid || err != nil {
		t.Errorf("Valid = %v, %v", valid, err)
	}
	// Two of five are gone: still a majority. Three: not.
	for i := range 3 {
		do(t, b.servers[i], "DEL", rsKey)
		ok, err := m.Extend()
		if ok != (i < 2) || ok != (err == nil) {
			t.Errorf("Extend without %d nodes = %v, %v", i+1, ok, err)
		}
	}
	b.clear(t)
	if ok, err := m.Unlock(); ok || !errors.Is(err, redsync.ErrLockAlreadyExpired) {
		t.Errorf("Unlock of an expired lock = %v, %v", ok, err)
	}
}

// SET NX on extension: a free key is taken again, a taken one is not.
func TestConformanceSetNXOnExtend(t *testing.T) {
	t.Parallel()
	b := setupPools(t)
	m := b.mutex(time.Minute, redsync.WithSetNXOnExtend())
	mustErr(t, "Lock", m.TryLock(), nil)
	b.clear(t)
	if ok, err := m.Extend(); !ok || err != nil {
		t.Errorf("Extend of an expired lock = %v, %v", ok, err)
	}
	for i, s := range b.servers {
		if b.value(t, i) != m.Value() {
			t.Errorf("server %d has %v", i, b.value(t, i))
		}
		do(t, s, "SET", rsKey, "other")
	}
	if ok, err := m.Extend(); ok || err == nil {
		t.Errorf("Extend of another's lock = %v, %v", ok, err)
	}
}

// A lock made elsewhere can be released with its value, by nobody else.
func TestConformanceUnlock(t *testing.T) {
	t.Parallel()
	b := setupPools(t)
	m := b.mutex(time.Minute)
	mustErr(t, "Lock", m.TryLock(), nil)
	mustFail := func(what string, ok bool, err error) {
		if ok || err == nil {
			t.Errorf("%s = %v, %v", what, ok, err)
		}
	}
	ok, err := b.mutex(time.Minute, redsync.WithValue("stranger")).Unlock()
	mustFail("Unlock by a stranger", ok, err)
	ok, err = b.mutex(time.Minute, redsync.WithValue(m.Value())).Unlock()
	if !ok || err != nil {
		t.Errorf("Unlock with the value = %v, %v", ok, err)
	}
	ok, err = m.Unlock()
	mustFail("second Unlock", ok, err)
	mustErr(t, "Lock of what was released", m.TryLock(), nil)
}

// The time to live is that of the mutex, on each node.
func TestConformanceExpiry(t *testing.T) {
	t.Parallel()
	b := setupPools(t)
	m := b.mutex(3 * time.Second)
	mustErr(t, "Lock", m.TryLockContext(context.Background()), nil)
	for i, s := range b.servers {
		if ms, _ := do(t, s, "PTTL", rsKey).(int64); ms <= 0 || ms > 3000 {
			t.Errorf("server %d has the key for %d ms", i, ms)
		}
	}
	until(t, "the lock to end by itself", func() bool {
		for i := range b.servers {
			if b.value(t, i) != nil {
				return false
			}
		}
		return true
	})
	if time.Now().Before(m.Until()) {
		t.Error("the servers ended the lock before its holder did")
	}
	mustErr(t, "Lock after the end", b.mutex(time.Minute).TryLock(), nil)
}
