package rc

import (
	"fmt"
	"time"
)

// An Opt changes one call. Opts are plain values; make them with the functions
// whose names begin with With.
type Opt struct {
	kind   optKind
	d      time.Duration
	params []any
	tags   []string
}

type optKind uint8

const (
	optParams optKind = iota + 1
	optTTL
	optMaxStale
	optSoftTimeout
	optTags
)

// WithParams adds to the identifier what else the value depends on, as
// alternating names and values: WithParams("skip", 20, "limit", 10). Values
// may be booleans, numbers, strings, byte slices, times, durations, and slices
// and maps of those. The order of the names does not matter.
func WithParams(namesAndValues ...any) Opt { return Opt{kind: optParams, params: namesAndValues} }

// WithTTL overrides Config.TTL for what this call stores.
func WithTTL(d time.Duration) Opt { return Opt{kind: optTTL, d: d} }

// WithMaxStale overrides Config.MaxStale for this call. It cannot reach beyond
// what is kept, Config.StaleFor. Zero or less accepts no stale value.
func WithMaxStale(d time.Duration) Opt { return Opt{kind: optMaxStale, d: d} }

// WithSoftTimeout overrides Config.SoftTimeout for this call.
func WithSoftTimeout(d time.Duration) Opt { return Opt{kind: optSoftTimeout, d: d} }

// WithTags adds tags to what this call stores; see [Manager.InvalidateTag]. A
// tag that is named here, and not first by the loader or by Config.Tags, is
// known before the load.
func WithTags(tags ...string) Opt { return Opt{kind: optTags, tags: tags} }

// call is what the options of one call add up to.
type call struct {
	params      []any
	ttl         time.Duration // 0: as configured
	maxStale    time.Duration
	softTimeout time.Duration
	tags        []string
}

func (c *core) call(opts []Opt) (call, error) {
	o := call{maxStale: c.cfg.maxStale, softTimeout: c.cfg.softTimeout}
	for _, p := range opts {
		switch p.kind {
		case optParams:
			o.params = append(o.params[:len(o.params):len(o.params)], p.params...)
		case optTTL:
			if p.d < time.Millisecond || p.d > maxTime {
				return o, fmt.Errorf("rc: WithTTL is %v, must be %v to %v", p.d, time.Millisecond, maxTime)
			}
			o.ttl = p.d
		case optMaxStale:
			o.maxStale = min(p.d, c.cfg.staleFor)
		case optSoftTimeout:
			o.softTimeout = p.d
		case optTags:
			tags, err := checkTags(append(o.tags[:len(o.tags):len(o.tags)], p.tags...))
			if err != nil {
				return o, err
			}
			o.tags = tags
		default:
			return o, fmt.Errorf("rc: the zero Opt is no option")
		}
	}
	return o, nil
}
