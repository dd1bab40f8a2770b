package lock

import "sync/atomic"

// Stats are what a Locker has counted since it was opened.
type Stats struct {
	// Acquired is locks that were taken. Handed is those of them that the
	// holder before passed on, without an attempt by the one who waited.
	Acquired, Handed uint64
	// Refused is attempts that found the lock held, asks of waiters included.
	Refused uint64
	// Abstained is those of them to which nodes of Redlock abstained because
	// they may have forgotten locks.
	Abstained uint64
	// Lost is locks that ended before they were released.
	Lost uint64
	// Extensions is how often a lock was extended, ExtendErrors how often it
	// was not known whether it was.
	Extensions, ExtendErrors uint64
	// AcquireErrors is attempts of which it is not known what they did,
	// ReleaseErrors releases, of which others may not know until the TTL ends,
	// and channels that could not be left.
	AcquireErrors, ReleaseErrors uint64
	// Resubscribed is how often a waiter had to listen anew.
	Resubscribed uint64
}

type counters struct {
	acquired, handed, refused, abstained, lost, extensions, extendErrors, acquireErrors, releaseErrors, resubscribed atomic.Uint64
}

// Stats returns a snapshot. It takes no round trip.
func (l *Locker) Stats() Stats {
	return Stats{
		Acquired: l.n.acquired.Load(), Handed: l.n.handed.Load(), Refused: l.n.refused.Load(),
		Abstained: l.n.abstained.Load(), Lost: l.n.lost.Load(),
		Extensions: l.n.extensions.Load(), ExtendErrors: l.n.extendErrors.Load(),
		AcquireErrors: l.n.acquireErrors.Load(), ReleaseErrors: l.n.releaseErrors.Load(),
		Resubscribed: l.n.resubscribed.Load(),
	}
}
