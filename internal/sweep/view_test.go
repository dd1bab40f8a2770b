package sweep

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       *nodeLine // without slots
		slots      []uint16
	}{
		{"primary with open slots",
			"aa 10.0.0.1:7001@17001,host myself,master - 0 0 7 connected 0-2 9 [1->-bb] [12-<-cc]\n",
			&nodeLine{id: "aa", addr: "10.0.0.1:7001", myself: true, primary: true, epoch: 7}, []uint16{0, 1, 2, 9}},
		{"replica", "bb :7002@17002 slave aa 0 1 7 connected",
			&nodeLine{id: "bb", addr: ":7002", epoch: 7}, nil},
		{"failed primary", "cc 10.0.0.3:7003@17003 master,fail - 1 2 9 disconnected 16383",
			&nodeLine{id: "cc", addr: "10.0.0.3:7003", primary: true, epoch: 9}, []uint16{16383}},
		{"slots out of range", "dd h:1@2 master - 0 0 1 connected 16384 x-4 3-99999 [70000->-aa] [x-<-aa] [5]",
			&nodeLine{id: "dd", addr: "h:1", primary: true, epoch: 1}, nil},
		{"too short", "ee h:1@2 master - 0 0 1", nil, nil},
		{"no epoch", "ff h:1@2 master - 0 0 x connected", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parseLine(c.line)
			if ok != (c.want != nil) {
				t.Fatalf("parseLine = %v, %t", got, ok)
			}
			if !ok {
				return
			}
			if got.id != c.want.id || got.addr != c.want.addr || got.myself != c.want.myself ||
				got.primary != c.want.primary || got.epoch != c.want.epoch {
				t.Errorf("parseLine = %+v, want %+v", got, c.want)
			}
			if slots := slices.Collect(got.slots.all()); !slices.Equal(slots, c.slots) {
				t.Errorf("slots = %v, want %v", slots, c.slots)
			}
			open := c.name == "primary with open slots"
			if open != (got.migrating[1] == "bb" && got.importing[12] == "cc") || len(got.migrating)+len(got.importing) > 2 {
				t.Errorf("migrating %v, importing %v", got.migrating, got.importing)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	info := "# Server\r\nrun_id:abc\r\n# Commandstats\r\ncmdstat_restore-asking:calls=12,usec=3\r\n"
	if got := infoField(info, "run_id:"); got != "abc" {
		t.Errorf("run_id = %q, want abc", got)
	}
	if got := arrivals(info); got != 12 {
		t.Errorf("arrivals = %d, want 12", got)
	}
	if got := arrivals("# Commandstats\r\n"); got != -1 {
		t.Errorf("arrivals of nothing = %d, want -1", got)
	}
}

// lookAt makes the view in which each text is the CLUSTER NODES of one node.
func lookAt(t *testing.T, texts ...string) *view {
	t.Helper()
	v := newView()
	for _, text := range texts {
		for line := range strings.Lines(text) {
			n, ok := parseLine(line)
			if !ok {
				t.Fatalf("no line of CLUSTER NODES: %q", line)
			}
			if n.myself {
				v.members[n.id] = &member{nodeLine: n, nodes: text, run: "run-" + n.id, arrivals: -1}
			}
		}
	}
	v.resolve()
	return v
}

const (
	lineA = "aa h:1@11 myself,master - 0 0 1 connected 0-8191\n"
	lineB = "bb h:2@12 myself,master - 0 0 2 connected 8192-16383\n"
)

func TestViewOfADeadPrimary(t *testing.T) {
	v := lookAt(t, lineA+"bb h:2@12 master,fail - 0 0 2 disconnected 8192-16382\ncc h:3@13 master - 0 0 3 connected 16382\n")
	v.silent["h:2"] = errors.New("refused")
	for _, c := range []struct {
		slot uint16
		addr string
		err  string
	}{
		{0, "h:1", ""}, {9000, "h:2", "refused"}, {16382, "h:3", "does not answer as a primary"}, {16383, "", ""},
	} {
		addr, err := v.where(c.slot)
		if addr != c.addr || err != nil != (c.err != "") || err != nil && err.Error() != c.err {
			t.Errorf("where(%d) = %q, %v, want %q, %q", c.slot, addr, err, c.addr, c.err)
		}
	}
	if got := v.strangers(); !slices.Equal(got, []uint16{16382}) {
		t.Errorf("strangers = %v, want the slot of h:3", got)
	}
	if left := newWatch(v).unsettled(v); left.len() != 16383-8192 || left.has(16383) || left.has(0) {
		t.Errorf("%d slots unsettled, want those of h:2 and h:3", left.len())
	}
}

// TestBlindView: when nobody answers, nothing is swept; not: nothing is there.
func TestBlindView(t *testing.T) {
	v := lookAt(t, "aa h:1@11 myself,master - 0 0 1 connected\n")
	v.silent["h:2"] = errors.New("refused")
	if addr, err := v.where(5); addr != "h:2" || err == nil {
		t.Errorf("where = %q, %v, want h:2, refused", addr, err)
	}
	if left := newWatch(v).unsettled(v); left.len() != slotCount {
		t.Errorf("%d slots unsettled, want all", left.len())
	}
}

func TestDeposedPrimary(t *testing.T) {
	v := lookAt(t, lineA, lineB, "cc h:3@13 myself,master - 0 0 3 connected 0-100\n")
	if v.owner[100].id != "cc" || v.owner[101].id != "aa" {
		t.Errorf("owners %s, %s, want the higher epoch to win", v.owner[100].id, v.owner[101].id)
	}
}

func TestWatch(t *testing.T) {
	look := func(t *testing.T, change func(a, b *member)) *view {
		v := lookAt(t, lineA, lineB)
		change(v.members["aa"], v.members["bb"])
		v.resolve()
		return v
	}
	give := func(a, b *member, slot uint16) {
		var s slotSet
		for have := range a.slots.all() {
			if have != slot {
				s.add(have)
			}
		}
		a.slots = s
		b.slots.add(slot)
	}
	for _, c := range []struct {
		name   string
		change func(a, b *member)
		want   int // slots that moved
	}{
		{"nothing", func(_, _ *member) {}, 0},
		{"a slot moved", func(a, b *member) { give(a, b, 7); b.epoch = 3; b.arrivals = 5 }, 1},
		{"a slot was opened", func(a, b *member) {
			a.migrating, b.importing, b.arrivals = map[uint16]string{7: "bb"}, map[uint16]string{7: "aa"}, 5
		}, 1},
		{"a slot is only being imported", func(_, b *member) { b.importing = map[uint16]string{7: "aa"} }, 1},
		{"a replica has the mark of its primary", func(_, b *member) {
			b.primary, b.importing, b.slots = false, map[uint16]string{7: "aa"}, slotSet{}
		}, 0},
		{"a process was restarted", func(a, _ *member) { a.run = "other" }, 8192},
		{"a slot went and came back", func(a, _ *member) { a.epoch = 3 }, 8192},
		{"keys went and came back", func(a, _ *member) { a.arrivals = 0 }, 8192},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatch(lookAt(t, lineA, lineB))
			w.see(look(t, c.change))
			if got := w.moved.len(); got != c.want {
				t.Errorf("%d slots moved, want %d", got, c.want)
			}
			if c.want == 1 && !w.moved.has(7) {
				t.Error("slot 7 is not among them")
			}
			// It stays with what was seen in between.
			if left := w.unsettled(lookAt(t, lineA, lineB)); left.len() < c.want {
				t.Errorf("%d slots unsettled, want %d or more", left.len(), c.want)
			}
		})
	}
}

func TestAbsentKey(t *testing.T) {
	for _, c := range []struct{ match, head string }{
		{"cache:v1:p:{*}", "cache:v1:p:{"}, {`a\*b`, "a{"}, {"*", "{"}, {"plain", "plain{"},
	} {
		for _, slot := range []uint16{0, 77, slotCount - 1} {
			k := absentKey(c.match, slot)
			if !strings.HasPrefix(k, c.head) || slotOf(k) != slot {
				t.Errorf("absentKey(%q, %d) = %q of slot %d", c.match, slot, k, slotOf(k))
			}
		}
	}
}
