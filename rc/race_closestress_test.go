package rc_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// Close against everything at once, many times. The race detector judges.
func TestRaceCloseStress(t *testing.T) {
	t.Parallel()
	for range 10 {
		srv := rctest.Start()
		for range 10 {
			m, s := instance(t, srv, rc.Options{}, rc.Config[string]{StaleFor: time.Hour, EarlyFraction: 0.01})
			var wg sync.WaitGroup
			begun := make(chan struct{}, 8)
			for i := range 8 {
				wg.Go(func() {
					begun <- struct{}{}
					id := string(rune('a' + i%3))
					for n := 0; ; n++ {
						var err error
						switch (n + i) % 4 {
						case 0:
							err = s.Delete(t.Context(), id)
						case 1:
							_, err = s.GetOrSetMany(t.Context(), []string{id, "x"}, func(_ context.Context, ids []string) (map[string]string, error) {
								return map[string]string{id: "v"}, nil
							})
						default:
							_, err = s.GetOrSet(t.Context(), id, gives("v", new(atomic.Int32)))
						}
						if n > 2 && m.Available() == false && err != nil {
							return
						}
					}
				})
			}
			for range 8 {
				<-begun
			}
			until(t, "some loads", func() bool { return s.Stats().Loads > 2 })
			m.Close()
			wg.Wait()
		}
		srv.Close()
	}
}
