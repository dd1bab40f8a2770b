package invalidation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// model is a cache of numbers that is kept current by a subscription, and a
// writer that changes the numbers and publishes it. Whatever happens to the
// servers, no cached number is older than the newest one whose publication was
// acknowledged before the time the subscription has been proven up to.
type model struct {
	tb     testing.TB
	writer *Bus
	reader *Bus
	sub    *Subscription
	names  []string
	parts  []int
	source []atomic.Int64

	mu     sync.Mutex // protects what follows
	cached map[string]int64
	acks   map[string][]ack

	acked, failed, checks, gaps atomic.Int64
	cancel                      context.CancelFunc
	wg                          sync.WaitGroup
}

// ack says that a number was published, and known to be at a time.
type ack struct {
	at     int64
	number int64
}

// newModel starts writing and checking until stop. The two buses share a clock.
func newModel(tb testing.TB, writer, reader *Bus) *model {
	m := &model{tb: tb, writer: writer, reader: reader, cached: map[string]int64{}, acks: map[string][]ack{}}
	for i := range 40 {
		name := fmt.Sprint("name", i)
		m.names = append(m.names, name)
		m.parts = append(m.parts, reader.Partition("ns", name))
	}
	m.source = make([]atomic.Int64, len(m.names))
	m.sub = reader.Subscribe(m.handle)
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.wg.Go(func() { m.write(ctx) })
	m.wg.Go(func() { m.read(ctx) })
	tb.Cleanup(func() { m.cancel(); m.wg.Wait(); m.sub.Close() })
	return m
}

func (m *model) handle(e Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Kind != Gap {
		delete(m.cached, e.Name)
		return
	}
	m.gaps.Add(1)
	for i, name := range m.names {
		if e.Partition == m.parts[i] || e.Partition == AllPartitions {
			delete(m.cached, name)
		}
	}
}

// write changes one number after the other.
func (m *model) write(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := 0; ctx.Err() == nil; i++ {
		n := i % len(m.names)
		number := m.source[n].Add(1)
		wg.Go(func() {
			if _, err := m.writer.Publish(ctx, key(m.names[n])); err != nil {
				m.failed.Add(1)
				return
			}
			m.acked.Add(1)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.acks[m.names[n]] = append(m.acks[m.names[n]], ack{at: m.reader.cfg.Clock(), number: number})
		})
		time.Sleep(time.Millisecond)
	}
}

// read checks all cached numbers over and over, and caches those that are not.
func (m *model) read(ctx context.Context) {
	for ctx.Err() == nil {
		m.check()
		time.Sleep(2 * time.Millisecond)
	}
}

func (m *model) check() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, name := range m.names {
		proven := m.sub.Heard(m.parts[i])
		have, ok := m.cached[name]
		if !ok {
			m.cached[name] = m.source[i].Load()
			continue
		}
		m.checks.Add(1)
		if want := m.newest(name, proven); have < want {
			m.tb.Errorf("%s: cached number %d, but %d was acknowledged before the time proven", name, have, want)
			delete(m.cached, name)
		}
	}
}

// newest returns the newest number acknowledged before the time, and forgets
// what came before it.
func (m *model) newest(name string, before int64) (number int64) {
	acks := m.acks[name]
	var later []ack
	for _, a := range acks {
		if a.at < before {
			number = max(number, a.number)
		} else {
			later = append(later, a)
		}
	}
	if number > 0 {
		later = append(later, ack{at: -1 << 60, number: number})
	}
	m.acks[name] = later
	return number
}

// settled waits until writes succeed again and everything is heard.
func (m *model) settled() {
	m.tb.Helper()
	acked := m.acked.Load()
	until(m.tb, "writes to succeed again", func() bool { return m.acked.Load() > acked+100 })
	waitHeard(m.tb, m.reader)
	waitHeard(m.tb, m.writer)
	failed, acked := m.failed.Load(), m.acked.Load()
	until(m.tb, "writes to succeed again", func() bool { return m.acked.Load() > acked+100 })
	if n := m.failed.Load() - failed; n > 0 {
		m.tb.Logf("%d writes failed after the fault", n)
	}
}

// stop ends the load, and checks that in the end nothing is stale.
func (m *model) stop() {
	m.tb.Helper()
	m.cancel()
	m.wg.Wait()
	for i, name := range m.names {
		m.source[i].Add(1)
		until(m.tb, "the last write of "+name, func() bool { // a fault is just over
			_, err := m.writer.Publish(context.Background(), key(name))
			return err == nil
		})
	}
	since := m.reader.cfg.Clock()
	until(m.tb, "the handler to be as current as now", func() bool {
		for p := range m.reader.parts {
			if m.sub.Heard(p) < since {
				return false
			}
		}
		return true
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, name := range m.names {
		if have, ok := m.cached[name]; ok && have != m.source[i].Load() {
			m.tb.Errorf("%s: cached number %d in the end, want %d", name, have, m.source[i].Load())
		}
	}
	m.tb.Logf("%d acknowledged, %d failed, %d checks, %d gaps delivered, stats %+v",
		m.acked.Load(), m.failed.Load(), m.checks.Load(), m.gaps.Load(), m.reader.Stats())
	if m.checks.Load() < 1000 {
		m.tb.Errorf("only %d checks: the model does not watch", m.checks.Load())
	}
}
