package rc_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// fillLog keeps which fills were stored and refused, with the load their
// context belongs to.
type fillLog struct {
	rc.NopObserver
	mu      sync.Mutex // protects the rest
	loads   int
	stored  []string
	refused []string
}

type loadKey struct{}

func (l *fillLog) LoadStart(ctx context.Context, _ rc.LoadStartEvent) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loads++
	return context.WithValue(ctx, loadKey{}, string(rune('0'+l.loads)))
}

func (l *fillLog) Fill(ctx context.Context, e rc.FillEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	load, _ := ctx.Value(loadKey{}).(string)
	l.stored = append(l.stored, e.Namespace+"/"+e.ID+" of load "+load)
}

func (l *fillLog) FillRefused(ctx context.Context, e rc.FillRefusedEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	load, _ := ctx.Value(loadKey{}).(string)
	l.refused = append(l.refused, e.ID+" of load "+load+": "+e.Reason.String())
}

// TestObserverFill: each loaded value is told as stored or refused, with the
// context of its own load.
func TestObserverFill(t *testing.T) {
	t.Parallel()
	log := &fillLog{}
	opts := calm()
	opts.Observer = log
	_, s := instance(t, start(t), opts, rc.Config[string]{})
	get := func(id string, meanwhile func()) {
		t.Helper()
		v, err := s.GetOrSet(t.Context(), id, func(context.Context) (string, error) {
			meanwhile()
			return "v", nil
		})
		if err != nil || v != "v" {
			t.Fatalf("GetOrSet(%q) = %q, %v", id, v, err)
		}
	}
	get("one", func() {})
	get("two", func() { set(t, s, "two", "newer") })
	_, err := s.GetOrSetMany(t.Context(), []string{"m1", "m2"}, func(context.Context, []string) (map[string]string, error) {
		set(t, s, "m2", "newer")
		return map[string]string{"m1": "v", "m2": "v"}, nil
	})
	if err != nil {
		t.Fatalf("GetOrSetMany: %v", err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if want := []string{"race/one of load 1", "race/m1 of load 3"}; !slices.Equal(log.stored, want) {
		t.Errorf("stored %q, want %q", log.stored, want)
	}
	if want := []string{"two of load 2: voided", "m2 of load 3: voided"}; !slices.Equal(log.refused, want) {
		t.Errorf("refused %q, want %q", log.refused, want)
	}
}
