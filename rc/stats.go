package rc

import (
	"sync/atomic"

	"github.com/fleetcache/fleetcache/internal/near"
)

// Stats are counts since the Manager, or the CacheService, was made.
type Stats struct {
	// L1Hits and L2Hits count values answered from memory and from Redis,
	// stale and negative ones included. A batch counts each identifier.
	L1Hits, L2Hits uint64
	// Misses counts reads that found no value they could use.
	Misses uint64
	// Corrupt, Newer, Codec and Invalid count, among the misses, values that
	// were there but could not be read: no envelope of this key, an envelope
	// of a newer version of this library, another codec or bytes that do not
	// decode, and those that Config.Validate refused.
	Corrupt, Newer, Codec, Invalid uint64
	// OwnMissed counts reads that were answered by a server without a write of
	// this process that Redis had confirmed, and were not used: during a
	// failover, or after one that lost the write.
	OwnMissed uint64
	// Loads counts loaders that were run, once per batch; LoadErrors those
	// that failed, LoadPanics those that panicked, NotFound the values that
	// turned out not to exist.
	Loads, LoadErrors, LoadPanics, NotFound uint64
	// DegradedLoads counts, among the loads, those that ran without the
	// right to store, batches that had it not for all identifiers included:
	// Redis did not answer, or another process took longer than
	// Config.LockWait.
	DegradedLoads uint64
	// Shared counts callers that got the result of a load another caller of
	// this process had begun.
	Shared uint64
	// Waits counts waits for another process' load, WaitTimeouts those that
	// reached Config.LockWait.
	Waits, WaitTimeouts uint64
	// StaleServed counts stale values given to callers.
	StaleServed uint64
	// Fills counts loaded values that were stored. FillsVoided counts those
	// that were not because the key was written meanwhile or the lease was
	// lost; FillsSuperseded because a newer version was there; FillsTooLarge,
	// FillsUnwanted and FillsFailed because of their size, the loader's wish,
	// and errors of the codec or of Redis.
	Fills, FillsVoided, FillsSuperseded, FillsTooLarge, FillsUnwanted, FillsFailed uint64
	// LeasesLost counts loads that lost their right to store, whether they
	// learned it while they ran or from the fill.
	LeasesLost uint64
	// LockErrors counts loads that had no loader called because
	// Config.RefreshLock could not be had, and locks that could not be
	// released. A lock that others hold is no error. LocksLost counts those
	// lost while a loader ran.
	LockErrors, LocksLost uint64
	// Refreshes counts background loads, RefreshErrors those that failed,
	// RefreshesDropped those left out because of Options.MaxRefreshes.
	Refreshes, RefreshErrors, RefreshesDropped uint64
	// Invalidations counts keys written by Set, Delete, DeleteBefore and Expire,
	// and values that InvalidatePattern removed; InvalidationErrors those that
	// Redis could not be told of, and patterns that were not finished.
	Invalidations, InvalidationErrors uint64

	// The rest is of the Manager alone.

	// Marks counts tags and namespaces invalidated or expired; MarkErrors
	// those that Redis could not be told of.
	Marks, MarkErrors uint64

	// AnnounceErrors counts, in coherence mode Broadcast, changes that could not
	// be announced: those of a write made it fail, those of a fill or a claim
	// given back cost others that wait for them some time.
	AnnounceErrors uint64
	// Queued counts invalidations kept for later, Resent those that were
	// delivered and are sent again because a failover or the loss of a
	// connection may have lost them (Options.ReplayWindow), Replayed those delivered
	// later, QueueDropped those lost because the queue was full, QueueExpired
	// those that time made unnecessary. QueueLen is how many wait now.
	Queued, Resent, Replayed, QueueDropped, QueueExpired uint64
	QueueLen                                             int
	// Pushes counts values that left memory because Redis announced a change,
	// Flushes announcements that everything is gone, FeedResets connections
	// whose values were given up without closing it, SlotMoves slots that
	// changed owner, and SlotKills values that left memory because of it.
	Pushes, Flushes, FeedResets, SlotMoves, SlotKills uint64
	// L1Entries is how many keys are in memory now, Tokens how many tokens of
	// tags and namespaces.
	L1Entries, Tokens int
	// Unfenced counts connections that were given up and that the server would
	// not end (CLIENT KILL is not allowed): a Set that timed out on one of them
	// may still be executed, after newer writes.
	Unfenced uint64
}

func (s *Stats) add(o Stats) {
	s.L1Hits += o.L1Hits
	s.L2Hits += o.L2Hits
	s.Misses += o.Misses
	s.Corrupt += o.Corrupt
	s.Newer += o.Newer
	s.Codec += o.Codec
	s.Invalid += o.Invalid
	s.OwnMissed += o.OwnMissed
	s.Loads += o.Loads
	s.LoadErrors += o.LoadErrors
	s.LoadPanics += o.LoadPanics
	s.NotFound += o.NotFound
	s.DegradedLoads += o.DegradedLoads
	s.Shared += o.Shared
	s.Waits += o.Waits
	s.WaitTimeouts += o.WaitTimeouts
	s.StaleServed += o.StaleServed
	s.Fills += o.Fills
	s.FillsVoided += o.FillsVoided
	s.FillsSuperseded += o.FillsSuperseded
	s.FillsTooLarge += o.FillsTooLarge
	s.FillsUnwanted += o.FillsUnwanted
	s.FillsFailed += o.FillsFailed
	s.LeasesLost += o.LeasesLost
	s.LockErrors += o.LockErrors
	s.LocksLost += o.LocksLost
	s.Refreshes += o.Refreshes
	s.RefreshErrors += o.RefreshErrors
	s.RefreshesDropped += o.RefreshesDropped
	s.Invalidations += o.Invalidations
	s.InvalidationErrors += o.InvalidationErrors
}

func (s *Stats) addNear(n near.Stats) {
	s.Pushes, s.Flushes, s.FeedResets, s.L1Entries = n.Pushes, n.Flushes, n.Resets, n.Keys
}

// counters are what Stats of a service are read from.
type counters struct {
	l1                                                                            striped
	l2, misses, corrupt, newer, codec, invalid, ownMissed                         atomic.Uint64
	loads, loadErrors, loadPanics, notFound, degradedLoads                        atomic.Uint64
	shared, waits, waitTimeouts, stale                                            atomic.Uint64
	fills, voided, superseded, tooLarge, unwanted, failed                         atomic.Uint64
	leasesLost, lockErrors, locksLost, refreshes, refreshErrors, refreshesDropped atomic.Uint64
	invalidations, invalidationErrors                                             atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		L1Hits: c.l1.load(), L2Hits: c.l2.Load(), Misses: c.misses.Load(),
		Corrupt: c.corrupt.Load(), Newer: c.newer.Load(), Codec: c.codec.Load(), Invalid: c.invalid.Load(), OwnMissed: c.ownMissed.Load(),
		Loads: c.loads.Load(), LoadErrors: c.loadErrors.Load(), LoadPanics: c.loadPanics.Load(),
		NotFound: c.notFound.Load(), DegradedLoads: c.degradedLoads.Load(), Shared: c.shared.Load(),
		Waits: c.waits.Load(), WaitTimeouts: c.waitTimeouts.Load(), StaleServed: c.stale.Load(),
		Fills: c.fills.Load(), FillsVoided: c.voided.Load(), FillsSuperseded: c.superseded.Load(),
		FillsTooLarge: c.tooLarge.Load(), FillsUnwanted: c.unwanted.Load(), FillsFailed: c.failed.Load(),
		LeasesLost: c.leasesLost.Load(), LockErrors: c.lockErrors.Load(), LocksLost: c.locksLost.Load(), Refreshes: c.refreshes.Load(), RefreshErrors: c.refreshErrors.Load(),
		RefreshesDropped: c.refreshesDropped.Load(),
		Invalidations:    c.invalidations.Load(), InvalidationErrors: c.invalidationErrors.Load(),
	}
}

// striped is a counter for the hit path: cores that count at the same time
// mostly touch different cache lines.
type striped struct {
	stripes [16]struct {
		n atomic.Uint64
		_ [56]byte
	}
}

// add counts one. now is the clock the caller has just read: its lower bits
// are as good as a random number, and free.
func (s *striped) add(now int64) { s.stripes[uint64(now)>>4%16].n.Add(1) }

func (s *striped) load() (sum uint64) {
	for i := range s.stripes {
		sum += s.stripes[i].n.Load()
	}
	return sum
}
