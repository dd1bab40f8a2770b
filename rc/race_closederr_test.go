package rc_test

import (
	"errors"
	"testing"

	"github.com/fleetcache/fleetcache/rc"
)

// A caller whose load is cancelled by Close is told so: its error is ErrClosed.
func TestRaceCloseTellsTheCallers(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, a := instance(t, srv, calm(), rc.Config[string]{})
	l := newLoader()
	f := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", l.load) })
	l.begin(t)
	m.Close()
	if _, err := f.get(t); !errors.Is(err, rc.ErrClosed) {
		t.Errorf("GetOrSet cancelled by Close = %v, want ErrClosed", err)
	}
}
