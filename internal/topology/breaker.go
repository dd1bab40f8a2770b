package topology

import (
	"errors"
	"strings"
	"sync/atomic"

	"github.com/redis/rueidis"
)

// openAfter is how many beats in a row must fail before a node counts as
// down. One may be a pause of the server, or of this process.
const openAfter = 2

// A breaker says whether operations are worth sending to a node. Beats alone
// open and close it; a failed operation only asks for a beat at once. So a
// stall that fails a hundred concurrent operations counts once, and no caller
// has to be the half-open probe.
type breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// fail counts a failed beat and reports whether it opened the breaker.
func (b *breaker) fail() bool {
	return b.failures.Add(1) >= openAfter && b.open.CompareAndSwap(false, true)
}

// close counts an answered beat and reports whether the breaker was open.
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
