//go:build unix

package suite

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/board"
	"github.com/fleetcache/fleetcache/internal/chaos/history"
	"github.com/fleetcache/fleetcache/internal/chaos/instance"
)

var testLimits = history.Limits{OpTimeout: 10, DialTimeout: 5}

func newTestDatabase(t *testing.T, keys int) (*database, *board.Board) {
	t.Helper()
	b, err := board.Open(filepath.Join(t.TempDir(), "board"), keys, 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := newDatabase(b, keys, testLimits)
	if err != nil {
		t.Fatal(err)
	}
	return d, b
}

// commit is a commit of one key that must succeed.
func commit(t *testing.T, d *database, by, key int) uint64 {
	t.Helper()
	out, err := d.commit(by, instance.Commit{Keys: []int{key}, Verb: "Set"})
	if err != nil || len(out.Versions) != 1 {
		t.Fatalf("commit = %v, %v", out, err)
	}
	return out.Versions[0]
}

func TestDatabaseLoadsWhatWasCommittedWhenTheLoadBegan(t *testing.T) {
	t.Parallel()
	d, _ := newTestDatabase(t, 2)
	if v := commit(t, d, 1, 1); v != 2 {
		t.Errorf("commit = version %d, want 2 after the one from before the phase", v)
	}
	began := history.Now()
	out, err := d.load(1, instance.Load{Keys: []int{1, 0}})
	if err != nil || len(out.Versions) != 2 || out.Versions[0] != 2 || out.Versions[1] != 1 {
		t.Fatalf("load = %v, %v; want versions 2 and 1", out, err)
	}
	if len(d.loads) != 2 || d.loads[0].Began < began || d.loads[0].Ended <= d.loads[0].Began || d.loads[0].By != 1 {
		t.Errorf("loads are %+v", d.loads)
	}
	for _, key := range []int{-1, 2} {
		if _, err := d.load(0, instance.Load{Keys: []int{key}}); err == nil {
			t.Errorf("load of key %d succeeded", key)
		}
	}
}

func TestDatabaseCompletesWrites(t *testing.T) {
	t.Parallel()
	d, b := newTestDatabase(t, 1)
	acked, failed, killed, told := commit(t, d, 0, 0), commit(t, d, 0, 0), commit(t, d, 1, 0), commit(t, d, 1, 0)
	d.report(0, instance.Report{Writes: []history.Write{
		{Version: acked, Began: 100, Ended: 110, Acked: 110},
		{Version: failed, Began: 120, Ended: 130, Err: "no answer", Queued: true},
	}})
	d.report(1, instance.Report{Replays: []instance.Replay{{At: 500}}}) // of another instance
	d.report(0, instance.Report{Replays: []instance.Replay{{At: 140}}}) // was under way already
	d.report(0, instance.Report{Replays: []instance.Replay{{At: 160}, {At: 170}}})
	b.Acknowledge(0, told, 200) // and then the instance was killed

	var ph history.Phase
	d.close(&ph)
	if len(ph.Writes) != 4 {
		t.Fatalf("%d writes, want the 4 of the phase: %+v", len(ph.Writes), ph.Writes)
	}
	for i, want := range []history.Write{
		{Version: acked, By: 0, Acked: 110, Ended: 110},
		{Version: failed, By: 0, Ended: 130, Queued: true, Replayed: 160},
		{Version: killed, By: 1},
		{Version: told, By: 1, Acked: 200, Ended: 200},
	} {
		got := ph.Writes[i]
		if got.Version != want.Version || got.By != want.By || got.Acked != want.Acked || got.Ended != want.Ended ||
			got.Queued != want.Queued || got.Replayed != want.Replayed || got.Verb != "Set" || got.Committed == 0 {
			t.Errorf("write %d is %+v, want %+v", i, got, want)
		}
	}
	if _, err := d.commit(0, instance.Commit{Keys: []int{0}}); !errors.Is(err, errOver) {
		t.Errorf("commit after the phase: %v, want %v", err, errOver)
	}
	if _, err := d.load(0, instance.Load{Keys: []int{0}}); !errors.Is(err, errOver) {
		t.Errorf("load after the phase: %v, want %v", err, errOver)
	}
}

func TestKeysLieOnTheirShards(t *testing.T) {
	t.Parallel()
	const shards = 3
	for _, porcupine := range []bool{false, true} {
		count := map[history.Class][shards]int{}
		seen := map[string]bool{}
		for _, k := range makeKeys("p1", shards, porcupine) {
			if k.Slot*shards/16384 != k.Shard {
				t.Errorf("%s in slot %d is said to be on shard %d", k.ID, k.Slot, k.Shard)
			}
			if seen[k.ID] {
				t.Errorf("%s is there twice", k.ID)
			}
			seen[k.ID] = true
			n := count[k.Class]
			n[k.Shard]++
			count[k.Class] = n
		}
		for class, n := range count {
			if n[0] == 0 || n[0] != n[1] || n[1] != n[2] {
				t.Errorf("class %s has %v keys on the shards", class, n)
			}
		}
		if _, ok := count[history.ClassRegister]; ok != porcupine || (!porcupine && len(count) != 7) {
			t.Errorf("porcupine %v: classes %v", porcupine, count)
		}
	}
}

func TestPhasesAreNamedOnce(t *testing.T) {
	t.Parallel()
	for _, short := range []bool{false, true} {
		seen := map[string]bool{}
		for _, ph := range phases(1, short) {
			if seen[ph.name] || ph.what == "" {
				t.Errorf("phase %q is there twice, or says nothing", ph.name)
			}
			seen[ph.name] = true
		}
	}
}

func TestUntilSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	n := 0
	if err := until(t.Context(), func() string {
		if n++; n < 3 {
			return "not yet"
		}
		return ""
	}); err != nil {
		t.Error(err)
	}
	e := &env{instances: 1, keys: []history.Key{{ID: "a", Class: history.ClassDelete}}}
	d, b := newTestDatabase(t, 1)
	e.board = b
	if _, err := e.converged(t.Context(), 20*time.Millisecond); err == nil {
		t.Error("converged, though nobody has read anything")
	}
	b.See(0, 0, 1)
	if _, err := e.converged(t.Context(), 20*time.Millisecond); err == nil {
		t.Error("converged, though no write is acknowledged")
	}
	go func() { // ends at once
		time.Sleep(time.Millisecond)
		v, _ := d.commit(0, instance.Commit{Keys: []int{0}})
		b.Acknowledge(0, v.Versions[0], 1)
	}()
	if _, err := e.converged(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
}
