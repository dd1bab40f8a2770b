package rc

import (
	"context"
	"time"
)

// Observer is told what happens in a Manager, for metrics and traces. Its
// methods are called from the goroutine the thing happens in, often one that a
// caller waits for, and must be fast and safe for concurrent use. Embed
// [NopObserver] to implement only some, and to compile when more are added.
type Observer interface {
	// Hit is called for each value answered from the cache.
	Hit(ctx context.Context, e HitEvent)
	// Miss is called for each read that found no value it could use.
	Miss(ctx context.Context, e MissEvent)
	// LoadStart is called before a loader runs. The loader and LoadEnd get
	// the context it returns.
	LoadStart(ctx context.Context, e LoadStartEvent) context.Context
	// LoadEnd is called when a loader has returned, or has been given up.
	LoadEnd(ctx context.Context, e LoadEndEvent)
	// Stale is called for each stale value that is served.
	Stale(ctx context.Context, e StaleEvent)
	// Wait is called when a wait for another process' load is over.
	Wait(ctx context.Context, e WaitEvent)
	// LeaseLost is called when a load finds that its right to store is gone.
	LeaseLost(ctx context.Context, e LeaseLostEvent)
	// Fill is called when Redis has stored a loaded value, before those who
	// wait for the load have it. Its context has the values of the one
	// LoadStart returned; so has that of FillRefused, after a load that
	// returned a value.
	Fill(ctx context.Context, e FillEvent)
	// FillRefused is called when a loaded value is not stored.
	FillRefused(ctx context.Context, e FillRefusedEvent)
	// Refresh is called when a background load is over, or was left out.
	Refresh(ctx context.Context, e RefreshEvent)
	// Invalidation is called for each write that was delivered or failed.
	Invalidation(ctx context.Context, e InvalidationEvent)
	// Degraded is called when a node is taken to be down.
	Degraded(ctx context.Context, e DegradedEvent)
	// Recovered is called when a node answers again.
	Recovered(ctx context.Context, e RecoveredEvent)
}

// HitEvent describes a value answered from the cache.
type HitEvent struct {
	Namespace, ID string
	// Source is the tier it came from.
	Source Source
	// Negative reports that what was cached is that there is no value.
	Negative bool
}

// MissEvent describes a read that found no value it could use.
type MissEvent struct {
	Namespace, ID string
	// Reason says what was found instead.
	Reason MissReason
}

// LoadStartEvent describes a load that is about to run.
type LoadStartEvent struct {
	Namespace string
	// IDs are the identifiers to be loaded, one except in a batch.
	IDs []string
	// Background reports that nobody waits for it: a refresh.
	Background bool
	// Degraded reports that it runs without the right to store its result, or,
	// in a batch, a part of it.
	Degraded bool
}

// LoadEndEvent describes a load that is over.
type LoadEndEvent struct {
	LoadStartEvent
	Duration time.Duration
	// Err is what it failed with; ErrNotFound is none.
	Err error
	// NotFound reports that the source has no such value.
	NotFound bool
}

// StaleEvent describes a stale value that is served.
type StaleEvent struct {
	Namespace, ID string
	Reason        StaleReason
	// Age is the time since the value was stored.
	Age time.Duration
}

// WaitEvent describes a wait for another process' load.
type WaitEvent struct {
	Namespace, ID string
	Duration      time.Duration
	// TimedOut reports that Config.LockWait was over.
	TimedOut bool
}

// LeaseLostEvent describes a load that lost its right to store.
type LeaseLostEvent struct{ Namespace, ID string }

// FillEvent describes a loaded value that Redis has stored.
type FillEvent struct{ Namespace, ID string }

// FillRefusedEvent describes a loaded value that is not stored.
type FillRefusedEvent struct {
	Namespace, ID string
	Reason        FillReason
	// Err is the failure, for FillFailed and FillUnencodable.
	Err error
}

// RefreshEvent describes a background load.
type RefreshEvent struct {
	Namespace, ID string
	// Dropped reports that it did not run, because Options.MaxRefreshes did.
	Dropped bool
	// Err is what it failed with. The old value stays.
	Err error
}

// InvalidationEvent describes a write: Set, Delete or Expire.
type InvalidationEvent struct {
	Namespace, ID string
	Verb          string
	// Err is why it was not delivered; Queued whether it will be.
	Err    error
	Queued bool
	// Replay reports that it was one from the queue.
	Replay bool
}

// DegradedEvent describes a node that is taken to be down.
type DegradedEvent struct{ Node string }

// RecoveredEvent describes a node that answers again.
type RecoveredEvent struct{ Node string }

// Source is where a value came from.
type Source uint8

// The sources.
const (
	FromLoader Source = iota // the source behind the cache
	FromL1                   // memory of this process
	FromL2                   // Redis
)

// String returns the name of the source.
func (s Source) String() string { return [...]string{"loader", "L1", "L2"}[s] }

// MissReason is why a read found no value.
type MissReason uint8

// The reasons of a miss.
const (
	MissAbsent      MissReason = iota // there is none
	MissExpired                       // it is older than what may be served
	MissCorrupt                       // its bytes are not an envelope of this key
	MissNewer                         // it was stored by a newer version of this library
	MissCodec                         // it was stored with another codec, or does not decode
	MissInvalid                       // Config.Validate refused it
	MissUnavailable                   // Redis does not answer
	MissOwnWrite                      // it is older than what this process has written: a failover
	MissInvalidated                   // its namespace or a tag of it was invalidated
)

// String returns the name of the reason.
func (r MissReason) String() string {
	return [...]string{"absent", "expired", "corrupt", "newer", "codec", "invalid", "unavailable", "own write", "invalidated"}[r]
}

// StaleReason is why a stale value is served.
type StaleReason uint8

// The reasons for serving a stale value.
const (
	NotStale         StaleReason = iota
	StaleRefreshing              // a new one is loaded in the background
	StaleSoftTimeout             // the load took longer than Config.SoftTimeout
	StaleLoadFailed              // the load failed
	StaleLockWait                // another process loads for longer than Config.LockWait
	StaleDegraded                // Redis does not answer
	StaleNoLoader                // the call does not load (Get, Lookup)
)

// String returns the name of the reason.
func (r StaleReason) String() string {
	return [...]string{"not stale", "refreshing", "soft timeout", "load failed", "lock wait", "degraded", "no loader"}[r]
}

// FillReason is why a loaded value is not stored.
type FillReason uint8

// The reasons for not storing a loaded value.
const (
	FillVoided      FillReason = iota // the key was written, or the lease lost, while it was loaded
	FillSuperseded                    // the value there has a newer version
	FillTooLarge                      // larger than Config.MaxValueBytes
	FillUnwanted                      // the loader said DoNotCache
	FillUnencodable                   // the codec failed
	FillFailed                        // Redis did not answer
)

// String returns the name of the reason.
func (r FillReason) String() string {
	return [...]string{"voided", "superseded", "too large", "unwanted", "unencodable", "failed"}[r]
}

// NopObserver is an [Observer] that does nothing.
type NopObserver struct{}

var _ Observer = NopObserver{}

func (NopObserver) Hit(context.Context, HitEvent)   {}
func (NopObserver) Miss(context.Context, MissEvent) {}

// LoadStart returns ctx.
func (NopObserver) LoadStart(ctx context.Context, _ LoadStartEvent) context.Context { return ctx }

func (NopObserver) LoadEnd(context.Context, LoadEndEvent)           {}
func (NopObserver) Stale(context.Context, StaleEvent)               {}
func (NopObserver) Wait(context.Context, WaitEvent)                 {}
func (NopObserver) LeaseLost(context.Context, LeaseLostEvent)       {}
func (NopObserver) Fill(context.Context, FillEvent)                 {}
func (NopObserver) FillRefused(context.Context, FillRefusedEvent)   {}
func (NopObserver) Refresh(context.Context, RefreshEvent)           {}
func (NopObserver) Invalidation(context.Context, InvalidationEvent) {}
func (NopObserver) Degraded(context.Context, DegradedEvent)         {}
func (NopObserver) Recovered(context.Context, RecoveredEvent)       {}
