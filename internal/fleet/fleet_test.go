//go:build unix

package fleet

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// testFleet is the processes of one test and what they share.
type testFleet struct {
	t       *testing.T
	cluster *localredis.Cluster
	args    openArgs
	ledger  *ledger
	onLoad  func(p *proc, id string) (row, error)
	procs   []*proc
}

// patient is an OpTimeout for tests in which every server answers: that a
// machine is busy is no fault.
const patient = 5 * time.Second

// newFleet prepares a fleet without processes. Fields of args that are zero get
// values that suit a test: the identifiers are one per primary.
func newFleet(t *testing.T, c *localredis.Cluster, args openArgs) *testFleet {
	t.Helper()
	args.URL = "redis://" + strings.Join(c.Addrs()[:3], ",")
	args.Namespace = "t" + fmt.Sprint(monotonic())
	args.MaxStaleness = cmp.Or(args.MaxStaleness, time.Second)
	args.OpTimeout = cmp.Or(args.OpTimeout, 250*time.Millisecond)
	args.TTL = cmp.Or(args.TTL, time.Minute)
	args.Ledger = filepath.Join(t.TempDir(), "ledger")
	if args.IDs == nil {
		args.IDs = []string{idOf(0), idOf(1), idOf(2)}
	}
	l, err := openLedger(args.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return &testFleet{t: t, cluster: c, args: args, ledger: l}
}

// idOf returns an identifier whose key belongs to the i-th primary of a new
// cluster of three.
func idOf(i int) string {
	for n := 0; ; n++ {
		id := fmt.Sprintf("id-%d", n)
		if slotOf(id)*3/localredis.SlotCount == i {
			return id
		}
	}
}

// slotOf returns the slot of the key of an identifier of letters, digits and
// dashes.
func slotOf(id string) int { return localredis.Slot("{" + id + "}") }

// spawn starts n workers and opens the cache in them.
func (f *testFleet) spawn(n int) []*proc {
	f.t.Helper()
	first := len(f.procs)
	for i := range n {
		f.procs = append(f.procs, startProc(f.t, fmt.Sprint("P", first+i), f.onLoad))
	}
	f.inParallel(f.procs[first:], func(p *proc) error { return p.try("open", f.args, nil) })
	return f.procs[first:]
}

// inParallel does something with several workers at once.
func (f *testFleet) inParallel(procs []*proc, do func(p *proc) error) {
	f.t.Helper()
	errs := make(chan error, len(procs))
	for _, p := range procs {
		go func() { errs <- do(p) }()
	}
	for range procs {
		if err := <-errs; err != nil {
			f.t.Fatal(err)
		}
	}
}

// primary returns the primary of an identifier.
func (f *testFleet) primary(id string) *localredis.Server {
	f.t.Helper()
	s, err := f.cluster.PrimaryOf(f.ctx(), slotOf(id))
	f.must("find primary", err)
	return s
}

// replica returns the replica of a primary.
func (f *testFleet) replica(primary *localredis.Server) *localredis.Server {
	f.t.Helper()
	r, err := f.cluster.ReplicasOf(f.ctx(), primary)
	f.must("find replica", err)
	if len(r) != 1 {
		f.t.Fatalf("%s has %d replicas, want 1", primary.Addr(), len(r))
	}
	return r[0]
}

func (f *testFleet) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	f.t.Cleanup(cancel)
	return ctx
}

func (f *testFleet) must(what string, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatalf("%s: %v", what, err)
	}
}
