//go:build unix

package stampede

import "github.com/fleetcache/fleetcache/bench/internal/hist"

// A sample is one request.
type sample struct {
	key         int32 // its number in Config.ids
	failed      bool
	began, took int64
	version     uint64
}

// A verdict is what came of samples.
type verdict struct {
	// All are the latencies of all requests, failed ones included; Expiry
	// those of requests for expiring keys that met an expiry; Plain those
	// that did not, and got a value.
	All, Expiry, Plain *hist.Histogram
	// Failed counts requests that got no value.
	Failed int
	// Reads counts reads of written keys, Stale those among them that got
	// what had been invalidated, Ages for how long it had been.
	Reads, Stale int
	Ages         *hist.Histogram
}

func newVerdict() *verdict {
	return &verdict{All: hist.New(), Expiry: hist.New(), Plain: hist.New(), Ages: hist.New()}
}

// judgement is what samples are judged by: when keys were loaded, and when
// their invalidations returned, by the number of the key.
type judgement struct {
	From, To int64 // samples that began outside are left out
	Expiring int   // keys with a number below
	Spans    [][]span
	Acks     [][]ack
}

func (j judgement) judge(samples []sample) (*verdict, error) {
	v := newVerdict()
	for _, s := range samples {
		if s.began < j.From || s.began > j.To {
			continue
		}
		if err := v.add(j, s); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *verdict) add(j judgement, s sample) error {
	if s.failed {
		v.Failed++
	}
	if err := hist.Note(v.All, s.took); err != nil {
		return err
	}
	if int(s.key) >= j.Expiring {
		if s.failed {
			return nil
		}
		v.Reads++
		if age, stale := staleness(j.Acks[s.key], s.began, s.version); stale {
			v.Stale++
			return hist.Note(v.Ages, age)
		}
		return nil
	}
	if meets(j.Spans[s.key], s.began, s.took) {
		return hist.Note(v.Expiry, s.took)
	}
	if s.failed {
		return nil
	}
	return hist.Note(v.Plain, s.took)
}

// merge adds another verdict to v.
func (v *verdict) merge(o *verdict) {
	v.All.Merge(o.All)
	v.Expiry.Merge(o.Expiry)
	v.Plain.Merge(o.Plain)
	v.Ages.Merge(o.Ages)
	v.Failed += o.Failed
	v.Reads += o.Reads
	v.Stale += o.Stale
}

// A verdictSent is a verdict on its way between processes.
type verdictSent struct {
	All, Expiry, Plain, Ages hist.Sent
	Failed, Reads, Stale     int
}

func (v *verdict) send() verdictSent {
	return verdictSent{
		hist.Pack(v.All), hist.Pack(v.Expiry), hist.Pack(v.Plain), hist.Pack(v.Ages), v.Failed, v.Reads, v.Stale,
	}
}

func (s verdictSent) verdict() (*verdict, error) {
	v := &verdict{Failed: s.Failed, Reads: s.Reads, Stale: s.Stale}
	for _, h := range []struct {
		to   **hist.Histogram
		from hist.Sent
	}{{&v.All, s.All}, {&v.Expiry, s.Expiry}, {&v.Plain, s.Plain}, {&v.Ages, s.Ages}} {
		var err error
		if *h.to, err = h.from.Unpack(); err != nil {
			return nil, err
		}
	}
	return v, nil
}
