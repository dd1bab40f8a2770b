package fakeredis

import (
	"container/heap"
	"strconv"
	"time"
)

// expiry holds the deadlines of all keys that have one, in milliseconds since
// 1970 as in Redis, and wakes the server at the earliest. All of it is protected
// by Server.mu.
//
// miniredis counts lifetimes down from the moment they were set, and would have
// to visit every key whenever the clock moves. Here its clock stands still:
// refresh corrects the lifetimes of the keys of a command before it runs, learn
// picks up what it has made of them.
type expiry struct {
	s      *Server
	offset time.Duration    // by FastForward
	now    int64            // time of the running command
	at     map[string]int64 // key -> deadline
	queue  deadlines        // at by time, plus entries that at has moved on from

	timer *time.Timer // fires at armed
	armed int64       // 0: not armed
	gen   int         // counts timers, so that a late callback knows it is late
}

type deadline struct {
	at  int64
	key string
}

// deadlines is a heap.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at < d[j].at }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	n := len(*d) - 1
	x := (*d)[n]
	(*d)[n] = deadline{}
	*d = (*d)[:n]
	return x
}

func (e *expiry) init(s *Server) {
	e.s = s
	e.at = map[string]int64{}
	e.tick()
}

// tick reads the clock for the command about to run; time stands still while a
// command, script or transaction runs.
func (e *expiry) tick() {
	t := time.Now().Add(e.offset).UTC().Truncate(time.Millisecond)
	e.now = t.UnixMilli()
	e.s.mini.SetTime(t)
}

// refresh tells miniredis how long keys still have to live.
func (e *expiry) refresh(ctx any, keys []string) {
	for _, key := range keys {
		if at, ok := e.at[key]; ok {
			e.s.ask(ctx, "PEXPIRE", key, strconv.FormatInt(at-e.now, 10))
		}
	}
}

// learn takes over the lifetimes that a command has left behind.
func (e *expiry) learn(ctx any, keys []string) {
	for _, key := range keys {
		ttl := intReply(e.s.ask(ctx, "PTTL", key))
		if ttl < 0 {
			delete(e.at, key)
			continue
		}
		at := e.now + int64(ttl)
		if old, ok := e.at[key]; ok && old == at {
			continue
		}
		e.at[key] = at
		heap.Push(&e.queue, deadline{at, key})
	}
	if len(e.queue) > 2*len(e.at)+64 {
		e.compact()
	}
}

// compact drops the entries of queue that at has moved on from.
func (e *expiry) compact() {
	e.queue = e.queue[:0]
	for key, at := range e.at {
		e.queue = append(e.queue, deadline{at, key})
	}
	heap.Init(&e.queue)
}

func (e *expiry) clear() {
	clear(e.at)
	e.queue = nil
}

// next removes and returns a key that is due.
func (e *expiry) next() (key string, ok bool) {
	for len(e.queue) > 0 && e.queue[0].at <= e.now {
		d := heap.Pop(&e.queue).(deadline)
		if e.at[d.key] == d.at {
			delete(e.at, d.key)
			return d.key, true
		}
	}
	return "", false
}

// arm sets the timer to the earliest deadline.
func (e *expiry) arm() {
	for len(e.queue) > 0 && e.at[e.queue[0].key] != e.queue[0].at {
		heap.Pop(&e.queue)
	}
	var first int64
	if len(e.queue) > 0 && !e.s.closed {
		first = e.queue[0].at
	}
	if first == e.armed {
		return
	}
	e.stop()
	if first == 0 {
		return
	}
	e.armed = first
	e.s.wg.Add(1)
	wait := time.UnixMilli(first).Sub(time.Now().Add(e.offset))
	e.gen++
	gen := e.gen
	e.timer = time.AfterFunc(wait, func() { e.fire(gen) })
}

// stop disarms the timer. A callback that runs already is joined by Close.
func (e *expiry) stop() {
	if e.timer != nil && e.timer.Stop() {
		e.s.wg.Done()
	}
	e.timer, e.armed = nil, 0
}

// fire is the callback of timer gen. It may come after stop has tried to prevent
// it; the timer that is set then is another one and stays.
func (e *expiry) fire(gen int) {
	defer e.s.wg.Done()
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	if e.s.closed {
		return
	}
	if gen == e.gen {
		e.timer, e.armed = nil, 0
	}
	e.s.expireLocked()
}

// expireLocked removes the keys whose time has come and tells their trackers.
// No client is to blame: even NOLOOP clients hear of it.
func (s *Server) expireLocked() {
	s.expiry.tick()
	for {
		key, ok := s.expiry.next()
		if !ok {
			break
		}
		s.ask(nil, "DEL", key)
		s.modified(key)
	}
	s.broadcast()
	s.expiry.arm()
}
