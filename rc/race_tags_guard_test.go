package rc_test

import (
	"testing"

	keys "github.com/fleetcache/fleetcache/internal/key"
	"github.com/fleetcache/fleetcache/rc"
)

// A guard that is touched while a load runs, and stays what it was, voids nothing:
// it was made by another process, is to live longer, or its connection is new. The
// benchmark of tags found some of the first loads of a process not stored.
func TestRaceTagGuardOnlyTouched(t *testing.T) {
	t.Parallel()
	srv := start(t)
	m, s := instance(t, srv, calm(), rc.Config[string]{Tags: func(string, string) []string { return []string{"late"} }})
	ld := newLoader()
	f := async(func() (string, error) { return s.GetOrSet(t.Context(), "k", ld.load) })
	ld.begin(t)
	guard := keys.GuardKey("", keys.TagGroup("late"))
	before := m.Stats().Pushes
	if n := do(t, srv, "PEXPIRE", guard, "100000000"); n != int64(1) {
		t.Fatalf("PEXPIRE of the guard = %v, want 1", n)
	}
	until(t, "the push", func() bool { return m.Stats().Pushes > before })
	ld.finish("v", nil)
	f.want(t, "v")
	if st := m.Stats(); st.FillsVoided != 0 || st.Fills != 1 {
		t.Errorf("%d fills, %d voided", st.Fills, st.FillsVoided)
	}
	cached(t, s, "k", "v")
}
