//go:build unix

package stampede

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An outcome is what was measured of one contender, in one or more turns.
type outcome struct {
	name string
	*verdict
	window time.Duration // measured
	errors map[string]int

	expiries, loads int // loads of those expiries
	queries         int // for keys that expire, whatever the reason
	peak            int // queries at a time
	used            usage
	counted         int // requests while that was counted

	writes, unannounced int
	recovery            time.Duration // the longest, of a killed primary

	cpu        time.Duration // of all instances
	ran        time.Duration // for which they used it
	late       time.Duration
	busy, tick int64 // of the machine
}

// merge adds another turn of the same contender.
func (o *outcome) merge(n *outcome) {
	o.verdict.merge(n.verdict)
	o.window += n.window
	for text, k := range n.errors {
		o.errors[text] += k
	}
	o.expiries += n.expiries
	o.loads += n.loads
	o.queries += n.queries
	o.peak = max(o.peak, n.peak)
	o.used = usage{o.used.commands + n.used.commands, o.used.bytes + n.used.bytes}
	o.counted += n.counted
	o.writes += n.writes
	o.unannounced += n.unannounced
	o.recovery = max(o.recovery, n.recovery)
	o.cpu += n.cpu
	o.ran += n.ran
	o.late = max(o.late, n.late)
	o.busy += n.busy
	o.tick += n.tick
}

// loadsPerExpiry is how often the database was asked because a value had ended.
func (o *outcome) loadsPerExpiry() float64 { return float64(o.loads) / float64(max(o.expiries, 1)) }

// perTTL is how often the database was asked for a key within a TTL: more than
// loads per expiry if values are loaded before their end.
func (o *outcome) perTTL(c Config) float64 {
	return float64(o.queries) / float64(c.Expiring) / (float64(o.window) / float64(c.TTL))
}

// rate is how many requests there were in a second.
func (o *outcome) rate() float64 { return float64(o.All.TotalCount()) / o.window.Seconds() }

// busyPart is the part of the machine's processors that was in use.
func (o *outcome) busyPart() float64 { return float64(o.busy) / float64(max(o.tick, 1)) }

// errorText says what failed most.
func (o *outcome) errorText() string {
	keys := slices.SortedFunc(maps.Keys(o.errors), func(a, b string) int {
		return cmp.Or(cmp.Compare(o.errors[b], o.errors[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, k := range keys[:min(len(keys), 3)] {
		parts = append(parts, strconv.Itoa(o.errors[k])+" × "+k)
	}
	return strings.Join(parts, ", ")
}
