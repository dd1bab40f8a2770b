package main

import (
	"sync/atomic"
	"time"
)

// A pulse notices when this process stands still, because the machine is
// suspended or has no time for it. That looks like a fault of everything else.
type pulse struct {
	longest atomic.Int64 // nanoseconds
	stop    chan struct{}
	done    chan struct{}
}

const pulseInterval = 10 * time.Millisecond

func startPulse() *pulse {
	p := &pulse{stop: make(chan struct{}), done: make(chan struct{})}
	go p.run() // until end, which waits for it
	return p
}

func (p *pulse) run() {
	defer close(p.done)
	tick := time.NewTicker(pulseInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			raise(&p.longest, int64(now.Sub(last)-pulseInterval))
			last = now
		case <-p.stop:
			return
		}
	}
}

// end ends the pulse and returns the longest time it missed.
func (p *pulse) end() time.Duration {
	close(p.stop)
	<-p.done
	return time.Duration(p.longest.Load())
}
