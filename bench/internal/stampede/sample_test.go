//go:build unix

package stampede

import (
	"encoding/json"
	"testing"
)

// judgedSamples are one of each kind, for one key that expires and one that is
// written.
func judgedSamples(t *testing.T) *verdict {
	t.Helper()
	j := judgement{
		From: 1000, To: 9000, Expiring: 1,
		Spans: [][]span{{{2000, 2060}}, {{0, 9000}}},
		Acks:  [][]ack{nil, {{2, 5000}}},
	}
	v, err := j.judge([]sample{
		{key: 0, began: 999, took: 1},                     // too early
		{key: 0, began: 9001, took: 1},                    // too late
		{key: 0, began: 1500, took: 5, version: 1},        // a plain hit
		{key: 0, began: 1990, took: 40, version: 1},       // loads
		{key: 0, began: 2010, took: 30, version: 1},       // waits
		{key: 0, began: 3000, took: 70, failed: true},     // neither
		{key: 0, began: 2050, took: 90, failed: true},     // at expiry, in vain
		{key: 1, began: 4000, took: 7, version: 1},        // not invalidated yet
		{key: 1, began: 5400, took: 8, version: 1},        // stale
		{key: 1, began: 5500, took: 9, version: 2},        // current
		{key: 1, began: 6000, took: 10_000, failed: true}, // no value, so not a stale one
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestJudge(t *testing.T) {
	t.Parallel()
	v := judgedSamples(t)
	for _, test := range []struct {
		what      string
		got, want int64
	}{
		{"requests", v.All.TotalCount(), 9},
		{"requests that met an expiry", v.Expiry.TotalCount(), 3},
		{"plain hits", v.Plain.TotalCount(), 1},
		{"failures", int64(v.Failed), 3},
		{"reads of written keys", int64(v.Reads), 3},
		{"stale reads", int64(v.Stale), 1},
		{"the oldest of them", v.Ages.Max(), 400},
		{"the slowest at expiry", v.Expiry.Max(), 90},
		{"the plain hit", v.Plain.Max(), 5},
	} {
		if test.got != test.want {
			t.Errorf("%s: %d, want %d", test.what, test.got, test.want)
		}
	}
}

// TestVerdictTravels: what the parent gets, and adds up, is what the instance
// has measured.
func TestVerdictTravels(t *testing.T) {
	t.Parallel()
	sent, err := json.Marshal(judgedSamples(t).send())
	if err != nil {
		t.Fatal(err)
	}
	var got verdictSent
	if err := json.Unmarshal(sent, &got); err != nil {
		t.Fatal(err)
	}
	sum := newVerdict()
	for range 2 {
		v, err := got.verdict()
		if err != nil {
			t.Fatal(err)
		}
		sum.merge(v)
	}
	if n, most := sum.All.TotalCount(), sum.Expiry.ValueAtQuantile(100); n != 18 || most != 90 {
		t.Errorf("two verdicts have %d requests and %d ns, want 18 and 90", n, most)
	}
	if sum.Stale != 2 || sum.Reads != 6 || sum.Failed != 6 || sum.Ages.TotalCount() != 2 {
		t.Errorf("two verdicts have %d stale reads of %d, %d failures", sum.Stale, sum.Reads, sum.Failed)
	}
}
