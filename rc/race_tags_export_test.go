package rc

// EvictToken takes a token out of memory as the tokens of others do when there
// are more than memory holds.
func EvictToken(m *Manager, key string) { m.tokens.held.Invalidate(key) }
