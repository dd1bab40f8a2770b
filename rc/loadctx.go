package rc

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// loadInfo is what a loader says about the value it returns.
type loadInfo struct {
	mu      sync.Mutex // protects all: a loader may use goroutines
	ttl     time.Duration
	version uint64
	skip    bool
	tags    []string
}

type loadInfoKey struct{}

func withLoadInfo(ctx context.Context) (context.Context, *loadInfo) {
	li := &loadInfo{}
	return context.WithValue(ctx, loadInfoKey{}, li), li
}

func fromLoad(ctx context.Context, what string) *loadInfo {
	li, ok := ctx.Value(loadInfoKey{}).(*loadInfo)
	if !ok {
		panic(fmt.Sprintf("rc: %s: the context is not that of a load; pass on the one the loader got", what))
	}
	return li
}

// SetTTL makes the value of the load that ctx belongs to fresh for d, without
// jitter, in place of Config.TTL and WithTTL. Zero or less does the same as
// [DoNotCache]. It panics if ctx is not from a loader's.
func SetTTL(ctx context.Context, d time.Duration) {
	li := fromLoad(ctx, "SetTTL")
	li.mu.Lock()
	defer li.mu.Unlock()
	li.ttl, li.skip = min(d, maxTime), li.skip || d <= 0
}

// SetVersion gives the value of the load that ctx belongs to a version, in
// place of Config.Version. It panics if ctx is not from a loader's.
func SetVersion(ctx context.Context, v uint64) {
	li := fromLoad(ctx, "SetVersion")
	li.mu.Lock()
	defer li.mu.Unlock()
	li.version = v
}

// DoNotCache makes the value of the load that ctx belongs to be returned to
// those who wait for it, and stored nowhere. It panics if ctx is not from a
// loader's.
func DoNotCache(ctx context.Context) {
	li := fromLoad(ctx, "DoNotCache")
	li.mu.Lock()
	defer li.mu.Unlock()
	li.skip = true
}

// AddTags adds tags to the value of the load that ctx belongs to, besides
// those of Config.Tags and WithTags; see [Manager.InvalidateTag]. A value with
// bad tags (see [ErrTag]) is returned to those who wait for it, and not stored.
// It panics if ctx is not from a loader's.
func AddTags(ctx context.Context, tags ...string) {
	li := fromLoad(ctx, "AddTags")
	li.mu.Lock()
	defer li.mu.Unlock()
	li.tags = append(li.tags, tags...)
}

func (li *loadInfo) get() (ttl time.Duration, version uint64, skip bool, tags []string) {
	li.mu.Lock()
	defer li.mu.Unlock()
	return li.ttl, li.version, li.skip, li.tags
}
