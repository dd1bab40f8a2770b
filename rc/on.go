package rc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/invalidation"
)

// MaxEventName limits the name of an event, in bytes.
const MaxEventName = 256

var (
	// ErrNoMapping is wrapped by the error of [Emit] for a type that [On] has no
	// mapping for.
	ErrNoMapping = errors.New("rc: no mapping for this event")
	// ErrEvent is wrapped by the errors of events that cannot be: types without
	// a name, names that are empty or too long, values that have no JSON.
	ErrEvent = errors.New("rc: bad event")
)

// Named is implemented by event types that say themselves what they are called
// on a bus or a stream, wherever they are used. It is called on a zero value.
type Named interface {
	EventName() string
}

// An EventOpt changes one call. EventOpts are plain values.
type EventOpt struct {
	kind eventOptKind
	name string
	n    int64
}

type eventOptKind uint8

const (
	eventName eventOptKind = iota + 1
	eventMaxLen
)

// EventName sets the name of the event, in place of that of its type. Who sends
// and who receives must agree on it; [Named] makes sure that they do.
func EventName(name string) EventOpt { return EventOpt{kind: eventName, name: name} }

// A mapping is a function given to On.
type mapping struct {
	name    string
	typ     reflect.Type
	decode  func(data []byte) (any, error)
	targets func(v any) []Target
}

// events is what a Manager keeps for event-driven invalidation. Its zero value
// is ready.
type events struct {
	n eventCounters

	mu       sync.Mutex // protects the rest
	mappings []*mapping // replaced, not changed
	sub      *invalidation.Subscription
	ctx      context.Context // ends with close; nil before the first use
	cancel   context.CancelFunc
	closed   bool
	wg       sync.WaitGroup // Consume; nothing is added once closed
}

// On makes events of type E invalidate the targets that f returns for them:
// those given to [Emit] here, those announced on the bus if this Manager
// listens ([Manager.Listen]), and those of streams that it consumes
// ([Manager.Consume]). There may be several mappings for a type, and several
// types of one name; all of them apply. stop takes the mapping away again; a
// call of f may still be running when it returns.
//
//	rc.On(m, func(e OrderShipped) []rc.Target {
//		return []rc.Target{orders.Target(e.OrderID), rc.TagTarget("user:" + e.UserID)}
//	})
//
// On the bus and in streams an event is known by a name: that of [EventName], or
// what [Named] says, or the bare name of its type, "OrderShipped". It does not
// have the package in it, so that a type may move and may be declared once per
// service. A type without a name, or with type parameters, needs one of the
// first two. Fields are decoded as encoding/json does.
//
// f is called from several goroutines at a time. It must be quick, and must not
// block: it is not given a context, because it should not ask anybody. If it
// returns nothing, nothing is done. It must not close the Manager.
//
// Register mappings before Listen and Consume: an event that comes earlier has
// no mapping, and is not kept.
func On[E any](m *Manager, f func(E) []Target, opts ...EventOpt) (stop func(), err error) {
	if f == nil {
		return nil, fmt.Errorf("%w: On[%v] needs a function", ErrEvent, reflect.TypeFor[E]())
	}
	o, err := eventOpts[E](opts, eventName)
	if err != nil {
		return nil, err
	}
	if reflect.TypeFor[E]().Kind() == reflect.Interface {
		return nil, fmt.Errorf("%w: %v is an interface, events cannot be decoded into it", ErrEvent, reflect.TypeFor[E]())
	}
	mp := &mapping{
		name: o.name,
		typ:  reflect.TypeFor[E](),
		decode: func(data []byte) (any, error) {
			var e E
			err := json.Unmarshal(data, &e)
			return e, err
		},
		targets: func(v any) []Target { return f(v.(E)) },
	}
	if !m.events.register(mp) {
		return nil, ErrClosed
	}
	return func() { m.events.unregister(mp) }, nil
}

// Emit applies the mappings of E in this process now, and returns when
// everything they name is invalidated. Redis and its pushes carry that to all
// others, so one process has to emit an event, not all. It costs a round trip
// or two, however many mappings there are: they are sent side by side.
//
// The error joins those of the invalidations that failed; as always they are
// kept by the Manager and sent later if they say so (see [InvalidationError]). A
// type without a mapping is an error that wraps [ErrNoMapping]: a pointer is
// another type than what it points to. If f panics, Emit does, and nothing was
// sent.
func Emit[E any](ctx context.Context, m *Manager, e E) error {
	if m.closed.Load() {
		return ErrClosed
	}
	typ := reflect.TypeFor[E]()
	var targets []Target
	known := false
	for _, mp := range m.events.all() {
		if mp.typ == typ {
			known = true
			targets = append(targets, mp.targets(e)...)
		}
	}
	if !known {
		return fmt.Errorf("%w: %v", ErrNoMapping, typ)
	}
	m.events.n.emitted.Add(1)
	failed, bad := m.strike(ctx, targets)
	if failed != nil {
		m.events.n.failed.Add(1)
	}
	return errors.Join(failed, bad)
}

// Announce publishes an event on the bus of this deployment, for the mappings
// of all Managers that listen ([Manager.Listen]), this one included. It applies
// nothing itself, and does not wait for those who do. It costs one round trip;
// see [Manager.Bus] for what the first call costs.
//
// A bus delivers at most once: a listener that is not connected, or too slow,
// misses the event, and is told only that it may have missed something. Nothing
// is sent again. Use it where a stale value is tolerable until its TTL ends, or
// where the listener has an answer to that; [AppendEvent] and [Manager.Consume]
// deliver at least once. Every listener invalidates for itself, so with n of
// them a key may be loaded up to n times; where all of them share one cache,
// [Emit] in one process is enough.
func Announce[E any](ctx context.Context, m *Manager, e E, opts ...EventOpt) error {
	o, err := eventOpts[E](opts, eventName)
	if err != nil {
		return err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: encode %s: %w", ErrEvent, o.name, err)
	}
	if _, err := m.Publish(ctx, invalidation.Event{Kind: invalidation.User, Name: o.name, Payload: data}); err != nil {
		return err
	}
	m.events.n.announced.Add(1)
	return nil
}

// Listen applies the mappings of this Manager to events announced on the bus,
// until stop is called or the Manager is closed. It blocks until the bus is
// connected or ctx ends. A Manager listens once at a time: a second call is an
// error.
//
// onGap, which may be nil, is called when events may have been missed: after a
// lost connection, a failover, or because this process was too slow. What was
// missed cannot be had again, so nothing is invalidated for it. A cache that
// must not stay stale clears here what the events are about
// ([CacheService.Clear], one SET), at the price of loading it again in every
// such case. Gaps are counted in EventStats.Gaps either way. onGap and the
// mappings run one after the other on one goroutine.
//
// Events are handled one at a time. One whose invalidation fails is not tried
// again by Listen, but the invalidation is queued as any other is. One that has
// no mapping is ignored; one that does not decode, or whose mapping panics, is
// counted and logged.
func (m *Manager) Listen(ctx context.Context, onGap func()) (stop func(), err error) {
	bus, err := m.Bus(ctx)
	if err != nil {
		return nil, err
	}
	e := &m.events
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	if e.sub != nil {
		return nil, errors.New("rc: this Manager listens already")
	}
	life := e.lifeLocked()
	sub := bus.Subscribe(func(ev invalidation.Event) { m.heard(life, ev, onGap) }, invalidation.WithKinds(invalidation.User))
	e.sub = sub
	return func() { e.unsubscribe(sub) }, nil
}

// heardTimeout bounds what one event from the bus may take, if it names a
// pattern; what else it can name has OpTimeout.
const heardTimeout = 30 * time.Second

// heard handles what comes from the bus.
func (m *Manager) heard(ctx context.Context, ev invalidation.Event, onGap func()) {
	if ev.Kind == invalidation.Gap {
		m.events.n.gaps.Add(1)
		if onGap != nil {
			onGap()
		}
		return
	}
	if ev.Namespace != "" { // the application's own
		return
	}
	m.events.n.heard.Add(1)
	ctx, cancel := context.WithTimeout(ctx, heardTimeout)
	defer cancel()
	if v := m.arrive(ctx, ev.Name, ev.Payload); v.kind != fateLanded && v.kind != fateUnknown {
		m.opts.Logger.Error("fleetcache: an event from the bus was not applied", "event", ev.Name, "error", v.err)
	}
}

// A fate is what became of an event that came from elsewhere.
type fate struct {
	kind fateKind
	err  error
}

type fateKind uint8

// From what is best to what has to be seen to first: if some invalidations
// failed, they come before what is wrong with the event.
const (
	fateLanded      fateKind = iota // everything it names is invalidated
	fateUnknown                     // it has no mapping
	fateUndecodable                 // it never will have targets
	fatePoisoned                    // a mapping panicked, or named a bad target
	fateFailed                      // Redis was not told of all of it
)

// arrive applies the mappings of an event that came from elsewhere. One that
// cannot be applied does not keep the others from it.
func (m *Manager) arrive(ctx context.Context, name string, data []byte) fate {
	v := fate{kind: fateUnknown}
	var errs []error
	worse := func(k fateKind, err error) {
		v.kind = max(v.kind, k)
		errs = append(errs, err)
	}
	var targets []Target
	for _, mp := range m.events.all() {
		if mp.name != name {
			continue
		}
		if v.kind == fateUnknown {
			v.kind = fateLanded
		}
		e, err := mp.decode(data)
		if err != nil {
			worse(fateUndecodable, fmt.Errorf("%w: decode %s: %w", ErrEvent, name, err))
			continue
		}
		ts, err := m.events.call(mp, e)
		if err != nil {
			worse(fatePoisoned, err)
			continue
		}
		targets = append(targets, ts...)
	}
	fails, bad := m.strike(ctx, targets)
	if bad != nil {
		worse(fatePoisoned, bad)
	}
	if fails != nil {
		worse(fateFailed, fails)
	}
	v.err = errors.Join(errs...)
	m.events.n.judge(v.kind)
	return v
}

// call runs the function of a mapping on a goroutine of its own, so that one
// that ends its goroutine is a failure like a panic. It waits for it.
func (e *events) call(mp *mapping, v any) (targets []Target, err error) {
	err = fmt.Errorf("rc: the mapping of %s called runtime.Goexit", mp.name)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("rc: the mapping of %s panicked: %v\n%s", mp.name, p, debug.Stack())
			}
			if err != nil {
				e.n.panics.Add(1)
			}
		}()
		targets = mp.targets(v)
		err = nil
	}()
	<-done
	return targets, err
}

// eventOpts checks options, of which only some kinds have a meaning, and finds
// the name of the event.
func eventOpts[E any](opts []EventOpt, allowed ...eventOptKind) (o EventOpt, err error) {
	named := false
	for _, p := range opts {
		switch {
		case p.kind == 0:
			return o, fmt.Errorf("%w: the zero EventOpt is no option", ErrEvent)
		case !slices.Contains(allowed, p.kind):
			return o, fmt.Errorf("%w: StreamMaxLen is for AppendEvent", ErrEvent)
		case p.kind == eventName:
			o.name, named = p.name, true
		case p.kind == eventMaxLen:
			o.n = p.n
		}
	}
	if !named {
		if o.name, err = nameOf(reflect.TypeFor[E]()); err != nil {
			return o, err
		}
	}
	if o.name == "" || len(o.name) > MaxEventName {
		return o, fmt.Errorf("%w: the name of %v has %d bytes, must have 1 to %d", ErrEvent, reflect.TypeFor[E](), len(o.name), MaxEventName)
	}
	return o, nil
}

// nameOf returns the name of an event type.
func nameOf(t reflect.Type) (string, error) {
	base := t
	if t.Kind() == reflect.Pointer {
		base = t.Elem()
	}
	if base.Kind() != reflect.Interface {
		if n, ok := reflect.New(base).Interface().(Named); ok {
			return n.EventName(), nil
		}
	}
	name := base.Name()
	if name == "" || strings.ContainsRune(name, '[') {
		return "", fmt.Errorf("%w: %v has no name of its own: use EventName", ErrEvent, t)
	}
	return name, nil
}

func (e *events) register(mp *mapping) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.mappings = append(slices.Clone(e.mappings), mp)
	return true
}

func (e *events) unregister(mp *mapping) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mappings = slices.DeleteFunc(slices.Clone(e.mappings), func(o *mapping) bool { return o == mp })
}

func (e *events) all() []*mapping {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mappings
}

// lifeLocked returns the context that ends with close.
func (e *events) lifeLocked() context.Context {
	if e.ctx == nil {
		e.ctx, e.cancel = context.WithCancel(context.Background())
	}
	return e.ctx
}

func (e *events) unsubscribe(sub *invalidation.Subscription) {
	sub.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sub == sub {
		e.sub = nil
	}
}

// begin joins a call of Consume to those that close waits for. end must be
// called when it is over. life ends with close, both with ctx, too.
func (e *events) begin(ctx context.Context) (both, life context.Context, end func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, nil, nil, ErrClosed
	}
	life = e.lifeLocked()
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(life, cancel)
	e.wg.Add(1)
	return both, life, func() {
		stop()
		cancel()
		e.wg.Done()
	}, nil
}

// close ends Listen and all calls of Consume, and waits for them.
func (e *events) close() {
	e.mu.Lock()
	e.closed = true
	sub := e.sub
	e.sub = nil
	if e.cancel != nil {
		e.cancel()
	}
	e.mu.Unlock()
	if sub != nil {
		sub.Close()
		<-sub.Done()
	}
	e.wg.Wait()
}
