package compare

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

const (
	expiryTTL     = time.Second // the least go-redis/cache can do
	expiryKeys    = 4
	expiryTakes   = 50 * time.Millisecond // a load
	expiryRun     = 3500 * time.Millisecond
	expiryPerCore = 8
	expiryPause   = time.Millisecond // of each caller, between two calls
)

// The units of what [Expiry] reports: loads for each expiry of a key, and
// milliseconds of reads that met a load of their key and of all others.
const (
	LoadsPerExpiry = "loads/expiry"
	ExpiryP50      = "expiry-p50-ms"
	ExpiryP99      = "expiry-p99-ms"
	ExpiryMax      = "expiry-max-ms"
	OtherP99       = "other-p99-ms"
)

// ExpirySettings are those of the caches of [Expiry].
func ExpirySettings() peer.Settings {
	return peer.Settings{TTL: expiryTTL, StaleFor: time.Second, LoadTimeout: 5 * time.Second}
}

// Expiry lets a few keys expire under load: 8 goroutines per core, each on one of
// several processes (caches of one name), read them for some seconds. It
// ignores b.N.
func Expiry(caches []peer.Cache) subject.Bench {
	return func(b *testing.B) error {
		ctx := context.Background()
		keys := make([]*expiringKey, expiryKeys)
		for i := range keys {
			keys[i] = &expiringKey{id: "expiring:" + strconv.FormatInt(fresh.Add(1), 10)}
			for _, c := range caches {
				if _, err := c.GetOrLoad(ctx, keys[i].id, keys[i].load); err != nil {
					return err
				}
			}
			keys[i].forget()
		}
		var g errgroup.Group
		end := time.Now().Add(expiryRun)
		readers := make([]expiryReader, expiryPerCore*runtime.GOMAXPROCS(0))
		for i := range readers {
			g.Go(func() error { // ends with the run, or its first error
				return readers[i].read(ctx, caches[i%len(caches)], keys, i, end)
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		return reportExpiry(b, keys, readers)
	}
}

// An expiringKey counts the loads of a key.
type expiringKey struct {
	id      string
	running atomic.Int64 // loads
	begun   atomic.Int64 // loads

	mu       sync.Mutex // protects the rest
	expiries int
	counted  int
	last     time.Time // when the first load after an expiry began
}

func (k *expiringKey) load(context.Context) (subject.Product, error) {
	k.mu.Lock()
	if now := time.Now(); now.Sub(k.last) > expiryTTL/2 {
		k.expiries, k.last = k.expiries+1, now
	}
	k.counted++
	k.mu.Unlock()
	k.begun.Add(1)
	k.running.Add(1)
	defer k.running.Add(-1)
	time.Sleep(expiryTakes)
	return theProduct, nil
}

// forget makes the loads so far not count: they met an empty cache.
func (k *expiringKey) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expiries, k.counted, k.last = 0, 0, time.Now()
}

// An expiryReader has the times of what one goroutine has read, in ms.
type expiryReader struct{ met, other []float64 }

func (r *expiryReader) read(ctx context.Context, c peer.Cache, keys []*expiringKey, i int, end time.Time) error {
	for ; time.Now().Before(end); i++ {
		k := keys[i%len(keys)]
		met, begun := k.running.Load() > 0, k.begun.Load()
		at := time.Now()
		if _, err := c.GetOrLoad(ctx, k.id, k.load); err != nil {
			return err
		}
		ms := float64(time.Since(at).Nanoseconds()) / 1e6
		if met || k.begun.Load() != begun {
			r.met = append(r.met, ms)
		} else {
			r.other = append(r.other, ms)
		}
		time.Sleep(expiryPause)
	}
	return nil
}

func reportExpiry(b *testing.B, keys []*expiringKey, readers []expiryReader) error {
	var met, other []float64
	for _, r := range readers {
		met, other = append(met, r.met...), append(other, r.other...)
	}
	var loads, expiries int
	for _, k := range keys {
		loads, expiries = loads+k.counted, expiries+k.expiries
	}
	if expiries < expiryKeys || len(met) == 0 {
		return fmt.Errorf("%d expiries of %d keys in %v, and %d reads that met one", expiries, expiryKeys, expiryRun, len(met))
	}
	b.ReportMetric(float64(loads)/float64(expiries), LoadsPerExpiry)
	b.ReportMetric(percentile(met, 0.5), ExpiryP50)
	b.ReportMetric(percentile(met, 0.99), ExpiryP99)
	b.ReportMetric(percentile(met, 1), ExpiryMax)
	b.ReportMetric(percentile(other, 0.99), OtherP99)
	b.ReportMetric(0, "ns/op") // says nothing: all runs take equally long
	return nil
}

// percentile returns a percentile of some figures, which it sorts.
func percentile(v []float64, p float64) float64 {
	slices.Sort(v)
	if len(v) == 0 {
		return math.NaN()
	}
	return v[min(len(v)-1, int(p*float64(len(v))))]
}

// expiries compares what happens when a value that all ask for ends.
func expiries(ctx context.Context, l *lab, end *rounds.Closers) error {
	s := spec{
		id: "expiry", title: "Expiry under load", turn: time.Millisecond, most: 3, noTime: true,
		extra: []metric{
			{LoadsPerExpiry, "loads per expiry", "%.2f"}, {ExpiryP50, "p50, ms", "%.3f"}, {ExpiryP99, "p99, ms", "%.3f"},
			{ExpiryMax, "max, ms", "%.1f"}, {OtherP99, "p99 of other reads, ms", "%.3f"},
		},
		text: fmt.Sprintf("Runs of %v: %d goroutines per core on two caches that stand for two processes, %d keys with a TTL of %v, a load that takes %v. "+
			"Percentiles are of reads that met a load of their key. \"+stale\" may serve a value for another second while a new one is loaded. "+
			"See the load test for real processes and a real database.", expiryRun, expiryPerCore, expiryKeys, expiryTTL, expiryTakes),
		plain: true,
	}
	t := l.start(s)
	for i, name := range peer.Names() {
		var pair []peer.Cache
		settings := ExpirySettings()
		settings.Prefix = "expiry" + strconv.Itoa(i)
		for range 2 {
			c, err := l.open(ctx, end, name, settings)
			if err != nil {
				return err
			}
			pair = append(pair, c)
		}
		t.Add(name, "", l.on(subject.Anything, Expiry(pair)))
	}
	return l.finish(ctx, t, s)
}
