package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// op is an operation of key 0 by a client, from one millisecond to another.
func op(client int, kind history.OpKind, version uint64, call, ret int) history.Op {
	return history.Op{Client: client, Kind: kind, Version: version, Call: history.Time(call) * ms, Return: history.Time(ret) * ms}
}

func failed(o history.Op) history.Op {
	o.Unknown = true
	return o
}

func TestLinearizable(t *testing.T) {
	const set, del, get = history.OpSet, history.OpDelete, history.OpGet
	for _, tt := range []struct {
		name string
		ops  []history.Op
		ok   bool
	}{
		{"empty at first", []history.Op{op(0, get, 0, 1, 2)}, true},
		{"reads what was set", []history.Op{op(0, set, 1, 1, 2), op(1, get, 1, 3, 4)}, true},
		{"misses what was set", []history.Op{op(0, set, 1, 1, 2), op(1, get, 0, 3, 4)}, false},
		{"reads an older value", []history.Op{op(0, set, 1, 1, 2), op(0, set, 2, 3, 4), op(1, get, 1, 5, 6)}, false},
		{"goes back", []history.Op{op(0, set, 1, 1, 2), op(0, set, 2, 3, 9), op(1, get, 2, 4, 5), op(1, get, 1, 6, 7)}, false},
		{"either of two at once", []history.Op{op(0, set, 1, 1, 5), op(1, set, 2, 1, 5), op(2, get, 1, 6, 7)}, true},
		{"deleted", []history.Op{op(0, set, 1, 1, 2), op(0, del, 0, 3, 4), op(1, get, 0, 5, 6)}, true},
		{"deleted and still there", []history.Op{op(0, set, 1, 1, 2), op(0, del, 0, 3, 4), op(1, get, 1, 5, 6)}, false},
		{"a failed set takes effect later", []history.Op{failed(op(0, set, 1, 1, 2)), op(0, get, 0, 3, 4), op(1, get, 1, 5, 6)}, true},
		{"a failed set never takes effect", []history.Op{failed(op(0, set, 1, 1, 2)), op(0, get, 0, 3, 4), op(1, get, 0, 5, 6)}, true},
		{"a failed set is repeated as delete, twice", []history.Op{
			failed(op(0, set, 1, 1, 2)), op(0, set, 2, 3, 4), op(0, get, 0, 5, 6), op(0, set, 3, 7, 8), op(1, get, 0, 9, 10),
		}, true},
		{"a failed set does not bring back another value", []history.Op{
			op(0, set, 1, 1, 2), op(0, set, 2, 3, 4), failed(op(0, set, 3, 5, 6)), op(1, get, 1, 7, 8),
		}, false},
		{"a failed set has no effect before it", []history.Op{op(1, get, 1, 1, 2), failed(op(0, set, 1, 3, 4))}, false},
		{"a failed read says nothing", []history.Op{op(0, set, 1, 1, 2), failed(op(1, get, 7, 3, 4))}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := phase()
			p.Porcupine, p.Ops = true, tt.ops
			v := Phase(p, Options{})
			if ok := v.Linear.Illegal == 0; ok != tt.ok || v.Linear.Undecided != 0 || v.Linear.Keys != 1 {
				t.Errorf("%+v, want linearizable: %v", v.Linear, tt.ok)
			}
			if tt.ok {
				wantClean(t, v)
			} else {
				wantViolation(t, v, "1 histories not shown to be linearizable")
			}
		})
	}
}

func TestIllegalHistoryIsDrawn(t *testing.T) {
	p := phase()
	p.Name, p.Porcupine = "L1 off", true
	p.Ops = []history.Op{op(0, history.OpSet, 1, 1, 2), op(1, history.OpGet, 0, 3, 4)}
	dir := t.TempDir()
	v := Phase(p, Options{Drawings: dir})
	path := filepath.Join(dir, "L1-off-key0.html")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	wantViolation(t, v, path)
	v = Phase(p, Options{Drawings: filepath.Join(dir, "none")})
	wantViolation(t, v, "drawing it failed")
}

// TestUndecidedHistoryIsAViolation: a check that was given up has shown nothing.
func TestUndecidedHistoryIsAViolation(t *testing.T) {
	p := phase()
	p.Porcupine = true
	for i := range 200 { // all at once, with a read that fits none: no order does
		p.Ops = append(p.Ops, op(i, history.OpSet, uint64(i+1), 1, 100), op(200+i, history.OpGet, uint64(i+1), 1, 100))
	}
	p.Ops = append(p.Ops, op(999, history.OpGet, 5000, 1, 100))
	v := Phase(p, Options{LinearizableWithin: 50e6})
	if v.Linear.Undecided != 1 {
		t.Fatalf("%+v, want one undecided", v.Linear)
	}
	wantViolation(t, v, "not decided within 50ms")
}

func TestDescriptions(t *testing.T) {
	m := registerModel
	for _, tt := range []struct{ got, want string }{
		{m.DescribeOperation(registerInput{history.OpSet, 3}, uint64(0)), "set 3"},
		{m.DescribeOperation(registerInput{kind: history.OpGet}, uint64(0)), "get: none"},
		{m.DescribeOperation(registerInput{kind: history.OpDelete}, uint64(0)), "delete"},
		{m.DescribeState(register{4, true}), "4, a failed write may still delete it"},
	} {
		if !strings.EqualFold(tt.got, tt.want) {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
