//go:build unix

package steps

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
)

// TestMemoryCache: a value is kept for its time and an error is not kept.
func TestMemoryCache(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &memoryCache{ttl: time.Second, rows: map[string]kept{}}
		loads := 0
		var fails error
		get := func() error {
			_, err := m.get(t.Context(), "a", func(context.Context) (origin.Row, error) {
				loads++
				return origin.Row{ID: "a"}, fails
			})
			return err
		}
		fails = errors.New("down")
		for range 2 {
			if err := get(); err != fails {
				t.Errorf("get = %v, want %v", err, fails)
			}
		}
		fails = nil
		for range 2 {
			if err := get(); err != nil {
				t.Error(err)
			}
		}
		if loads != 3 {
			t.Errorf("%d loads, want one for each failure and one for the value", loads)
		}
		time.Sleep(time.Second)
		if err := get(); err != nil || loads != 4 {
			t.Errorf("get = %v after %d loads, want a fourth when the time of the value is over", err, loads)
		}
	})
}

func TestTally(t *testing.T) {
	t.Parallel()
	n := tally{latency: newOutcome(step{}).latency, errors: map[string]int{}}
	n.note(5, 100, nil)
	n.note(7, 900, errors.New("some failure")) // there is no row whose age would count
	n.note(6, 300, nil)
	if n.slowest != 7 || n.oldest != 300 || n.errors["some failure"] != 1 || n.latency.TotalCount() != 3 || n.wrong != "" {
		t.Errorf("slowest %d, oldest %d, errors %v, %q", n.slowest, n.oldest, n.errors, n.wrong)
	}
	n.note(int64(time.Hour), 0, nil)
	if n.wrong == "" {
		t.Error("an answer that took an hour was noted as a latency")
	}
}
