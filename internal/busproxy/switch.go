package busproxy

import (
	"errors"
	"slices"
	"sync"
)

// ErrClosed is returned by [Switch.Add] after [Switch.Close].
var ErrClosed = errors.New("busproxy: switch is closed")

// Switch decides which nodes can reach each other. [New] makes one for the
// nodes of one cluster; the zero value is of no use. Its methods and those of
// its proxies may be called concurrently.
type Switch struct {
	mu      sync.Mutex // protects the fields below, and what Proxy says
	proxies map[*Proxy]struct{}
	cut     bool
	group   []string // ids on one side of the cut
	closed  bool
}

// New returns a switch without proxies and without a cut.
func New() *Switch {
	return &Switch{proxies: map[*Proxy]struct{}{}}
}

// Cut separates the nodes with the ids in group from all others: links between
// the two sides are closed before it returns, and new ones are refused from
// then on. Links within a side go on. An earlier cut is replaced. An empty
// group cuts nothing, as [Switch.Heal]. What was written to a link before the
// cut may still arrive.
func (s *Switch) Cut(group ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group = slices.Clone(group)
	s.cut = len(group) > 0
	s.sweepLocked()
}

// Heal ends the cut. The nodes connect again by themselves.
func (s *Switch) Heal() { s.Cut() }

// Close closes all proxies as [Proxy.Close] does. Closing again does nothing.
func (s *Switch) Close() {
	s.mu.Lock()
	s.closed = true
	var open []*Proxy
	for p := range s.proxies {
		open = append(open, p)
	}
	s.mu.Unlock()
	for _, p := range open {
		p.Close()
	}
}

// sweepLocked closes the links that the cut in force does not allow.
func (s *Switch) sweepLocked() {
	for p := range s.proxies {
		for l := range p.links {
			if !s.allowedLocked(l.from, p.id) {
				l.closeLocked()
			}
		}
	}
}

// allowedLocked reports whether a node with the id from may have a link to the
// one with the id to.
func (s *Switch) allowedLocked(from, to string) bool {
	if !s.cut {
		return true
	}
	return s.knownLocked(from) && s.knownLocked(to) &&
		slices.Contains(s.group, from) == slices.Contains(s.group, to)
}

func (s *Switch) knownLocked(id string) bool {
	if id == "" {
		return false
	}
	for p := range s.proxies {
		if p.id == id {
			return true
		}
	}
	return false
}
