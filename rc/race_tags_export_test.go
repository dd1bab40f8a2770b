package rc

import "sync"

// EvictToken takes a token out of memory as the tokens of others do when there
// are more than memory holds.
func EvictToken(m *Manager, key string) { m.tokens.held.Invalidate(key) }

// TokenRead makes as if a read of a token were in flight, and reports whether
// readers can still join it.
func TokenRead(m *Manager, key string) (joinable func() bool) {
	ts := m.tokens
	rd := &tokenRead{done: make(chan struct{})}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.reading[key] = rd
	return func() bool {
		ts.mu.Lock()
		defer ts.mu.Unlock()
		return ts.reading[key] == rd
	}
}

// HoldReads keeps reads of a service from being joined, begun or forgotten.
func HoldReads[T any](s *CacheService[T]) (release func()) {
	s.core.reads.mu.Lock()
	return sync.OnceFunc(s.core.reads.mu.Unlock)
}
