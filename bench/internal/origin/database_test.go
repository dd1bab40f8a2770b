//go:build unix

package origin

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/crew"
)

func TestMain(m *testing.M) {
	crew.Enter(map[string]crew.Role{RoleName: Role})
	os.Exit(m.Run())
}

func start(t *testing.T, cfg Config) *Database {
	t.Helper()
	d, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestVersions(t *testing.T) {
	t.Parallel()
	d := start(t, Config{IDs: []string{"a", "b"}, Connections: 2})
	if v, err := d.Update(t.Context(), "a"); err != nil || v != 2 {
		t.Errorf("Update = %d, %v; want 2", v, err)
	}
	for id, want := range map[string]uint64{"a": 2, "b": 1} {
		r, err := d.Query(t.Context(), id)
		if err != nil || r.ID != id || r.Version != want || r.Name == "" || r.Read == 0 {
			t.Errorf("Query(%q) = %+v, %v; want version %d", id, r, err, want)
		}
	}
	if _, err := d.Query(t.Context(), "c"); err == nil {
		t.Error("a row was found that is not there")
	}
	if l, err := d.Take(t.Context()); err != nil || l.Begun != 3 || l.Failed != 1 || l.Queries != nil {
		t.Errorf("Take = %+v, %v; want 3 queries, not kept", l, err)
	}
}

// TestConnectionLimit: queries beyond the limit wait for their turn, and the
// log has when each of them began and ended.
func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	const service, callers = 250 * time.Millisecond, 6 // all have come before the first two are done
	d := start(t, Config{IDs: []string{"a"}, Connections: 2, Mode: Mode{Service: service}, Keep: true})
	began := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if _, err := d.Query(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took < callers/2*service {
		t.Errorf("%d queries of %v, 2 at a time, took %v", callers, service, took)
	}
	l, err := d.Take(t.Context())
	if err != nil || l.Begun != callers || len(l.Queries) != callers || l.Peak != callers {
		t.Fatalf("Take = %+v, %v; want %d queries at a time", l, err, callers)
	}
	for _, q := range l.Queries {
		if q.ID != "a" || q.Failed || time.Duration(q.End-q.Begin) < service {
			t.Errorf("query %+v took %v", q, time.Duration(q.End-q.Begin))
		}
	}
	if l, err := d.Take(t.Context()); err != nil || l.Begun != 0 || l.Peak != 0 {
		t.Errorf("Take = %+v, %v after the log was taken", l, err)
	}
}

func TestDownAndUpAgain(t *testing.T) {
	t.Parallel()
	d := start(t, Config{IDs: []string{"a"}, Connections: 1, Mode: Mode{Service: time.Hour}})
	if err := d.SetMode(t.Context(), Mode{Down: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Query(t.Context(), "a"); err == nil {
		t.Error("a database that is down answered")
	}
	if err := d.SetMode(t.Context(), Mode{}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Query(t.Context(), "a"); err != nil {
		t.Errorf("Query = %v after it came up", err)
	}
	if l, err := d.Take(t.Context()); err != nil || l.Begun != 2 || l.Failed != 1 {
		t.Errorf("Take = %+v, %v", l, err)
	}
}
