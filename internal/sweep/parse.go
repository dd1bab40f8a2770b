package sweep

import (
	"strconv"
	"strings"
)

// nodeLine is one line of CLUSTER NODES. The node that was asked marks its own
// with myself; only that one has marks of open slots.
type nodeLine struct {
	id, addr  string
	myself    bool
	primary   bool
	epoch     uint64
	slots     slotSet
	migrating map[uint16]string // open slots: the id of the node they go to
	importing map[uint16]string // open slots: the id of the node they come from
}

// The fields of a line that come before its slots:
//
//	id ip:port@bus[,host] flags primary ping pong epoch link slot...
const fieldsBeforeSlots = 8

// parseLine reads a line, and reports whether it is one.
func parseLine(line string) (*nodeLine, bool) {
	f := strings.Fields(line)
	if len(f) < fieldsBeforeSlots {
		return nil, false
	}
	addr, _, _ := strings.Cut(f[1], "@")
	epoch, err := strconv.ParseUint(f[6], 10, 64)
	if err != nil {
		return nil, false
	}
	n := &nodeLine{id: f[0], addr: addr, epoch: epoch}
	for _, flag := range strings.Split(f[2], ",") {
		switch flag {
		case "myself":
			n.myself = true
		case "master":
			n.primary = true
		}
	}
	for _, s := range f[fieldsBeforeSlots:] {
		n.addSlots(s)
	}
	return n, true
}

// addSlots reads "93", "0-5460", "[93->-id]" or "[93-<-id]".
func (n *nodeLine) addSlots(field string) {
	if mark, ok := strings.CutPrefix(field, "["); ok {
		mark = strings.TrimSuffix(mark, "]")
		if slot, id, ok := strings.Cut(mark, "->-"); ok {
			n.migrating = addMark(n.migrating, slot, id)
		} else if slot, id, ok := strings.Cut(mark, "-<-"); ok {
			n.importing = addMark(n.importing, slot, id)
		}
		return
	}
	from, to, ranged := strings.Cut(field, "-")
	first, ok := parseSlot(from)
	last, ok2 := first, true
	if ranged {
		last, ok2 = parseSlot(to)
	}
	if !ok || !ok2 {
		return
	}
	for s := int(first); s <= int(last); s++ {
		n.slots.add(uint16(s))
	}
}

func addMark(marks map[uint16]string, slot, id string) map[uint16]string {
	s, ok := parseSlot(slot)
	if !ok {
		return marks
	}
	if marks == nil {
		marks = make(map[uint16]string)
	}
	marks[s] = id
	return marks
}

func parseSlot(s string) (slot uint16, ok bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil && n < slotCount
}

// infoField returns the rest of the line of an INFO reply that begins with
// prefix, "" if there is none.
func infoField(info, prefix string) string {
	for line := range strings.Lines(info) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// arrivals returns how many keys other nodes have sent to this one by MIGRATE,
// -1 if INFO does not say so: also for a node that has received none.
func arrivals(info string) int64 {
	calls, _, _ := strings.Cut(infoField(info, "cmdstat_restore-asking:calls="), ",")
	n, err := strconv.ParseInt(calls, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
