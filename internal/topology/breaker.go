package topology

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// openAfter is how many operations in a row must fail before a node counts as
// down: one may be bad luck, each costs its caller a full timeout.
const openAfter = 3

// A breaker says whether operations are worth sending to a node. It opens
// after openAfter failures in a row and is closed by an answered beat: the
// beat is the half-open probe, so no caller has to be one.
type breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// fail counts a failure and reports whether it opened the breaker.
func (b *breaker) fail() bool {
	return b.failures.Add(1) >= openAfter && b.open.CompareAndSwap(false, true)
}

// succeed ends a run of failures. It does not close an open breaker: an
// answer may be old.
func (b *breaker) succeed() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

// close is called when a beat was answered, and reports whether the breaker
// was open.
func (b *breaker) close() bool {
	b.failures.Store(0)
	return b.open.CompareAndSwap(true, false)
}

// Unreachable reports whether the error says that a node, or its part of the
// cluster, does not serve at the moment: as opposed to an answer that merely
// is not the hoped-for one. The end of a caller's own context does not count.
func Unreachable(err error) bool {
	if err == nil || rueidis.IsRedisNil(err) {
		return false
	}
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return !errors.Is(err, rueidis.ErrClosing)
	}
	for _, p := range [...]string{"CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "MOVED", "ASK", "BUSY", "NOREPLICAS"} {
		if strings.HasPrefix(re.Error(), p) {
			return true
		}
	}
	return false
}
