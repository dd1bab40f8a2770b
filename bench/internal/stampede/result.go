//go:build unix

package stampede

import (
	"fmt"
	"math"
	"strings"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// ours reports whether a contender is a flavour of this library.
func ours(name string) bool { return strings.HasPrefix(name, "fleetcache") }

// staleFlavour is the one whose latency at expiry is compared: what somebody
// sets up who does not want callers to wait.
const staleFlavour = "fleetcache+stale"

// A best is the lowest figure of the peers, and whose it is.
type best struct {
	name  string
	value float64
}

// bestOf returns the lowest figure of the peers among all. ok leaves peers out;
// nil leaves none out.
func bestOf(all []*outcome, figure func(*outcome) float64, ok func(peer.Traits) bool) best {
	b := best{value: math.Inf(1)}
	for _, o := range all {
		t, err := peer.TraitsOf(o.name)
		if ours(o.name) || ok != nil && (err != nil || !ok(t)) {
			continue
		}
		if v := figure(o); v < b.value {
			b = best{o.name, v}
		}
	}
	return b
}

func expiryP99(o *outcome) float64 { return quantile(o.Expiry, 99) }

func coherent(t peer.Traits) bool { return t.Redis && t.Coherent }

// result adds the pairs of the RESULT line. The peers' best is the best of all
// of them, each figure on its own: it may be one that has no Redis, or serves
// old values. A pair whose contenders did not take part is left out.
func (c Config) result(r *record.Run, all []*outcome) {
	by := map[string]*outcome{}
	for _, o := range all {
		by[o.name] = o
	}
	loads := bestOf(all, (*outcome).loadsPerExpiry, nil)
	p99, p99Coherent := bestOf(all, expiryP99, nil), bestOf(all, expiryP99, coherent)
	stale := bestOf(all, func(o *outcome) float64 { return float64(o.Stale) }, nil)
	plain, flavour := by["fleetcache"], by[staleFlavour]
	if plain != nil {
		r.Add("loads_per_expiry", "%.2f", plain.loadsPerExpiry())
	}
	if loads.name != "" {
		r.Add("peer_best_loads_per_expiry", "%.2f", loads.value)
	}
	if flavour != nil && p99.name != "" {
		r.Add("expiry_p99_ratio_vs_best_peer", "%.2f", expiryP99(flavour)/p99.value)
		r.Text = append(r.Text, fmt.Sprintf("The lowest p99 of a peer at expiry is that of %s.", p99.name))
	}
	if flavour != nil && p99Coherent.name != "" {
		r.Add("expiry_p99_ratio_vs_best_coherent_peer", "%.2f", expiryP99(flavour)/p99Coherent.value)
		r.Text = append(r.Text, fmt.Sprintf("Among those that share values in Redis and do not serve what another process has invalidated, it is that of %s.", p99Coherent.name))
	}
	if plain != nil {
		r.Add("stale_reads", "%d", plain.Stale)
	}
	if stale.name != "" {
		r.Add("peer_best_stale_reads", "%.0f", stale.value)
	}
	if flavour != nil {
		r.Add("expiry_p99_over_hit_p99", "%.2f", expiryP99(flavour)/quantile(flavour.Plain, 99))
	}
}
