package localredis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// slotRange is an inclusive range of slots.
type slotRange struct{ first, last int }

// nodeLine is one line of CLUSTER NODES: what one node believes about one node.
type nodeLine struct {
	id       string
	port     int // 0 while the node that was asked does not know its own address
	flags    []string
	primary  string // id; "" for a primary
	epoch    int64
	linkUp   bool
	slots    []slotRange
	rawSlots string // the slot ranges as printed, without open slots
}

func (n nodeLine) is(flag string) bool { return slices.Contains(n.flags, flag) }

func (n nodeLine) owns(slot int) bool {
	return slices.ContainsFunc(n.slots, func(r slotRange) bool {
		return r.first <= slot && slot <= r.last
	})
}

// view is the answer of one node to CLUSTER NODES.
type view []nodeLine

func (v view) find(match func(nodeLine) bool) (nodeLine, bool) {
	if i := slices.IndexFunc(v, match); i >= 0 {
		return v[i], true
	}
	return nodeLine{}, false
}

func (v view) myself() (nodeLine, bool) {
	return v.find(func(n nodeLine) bool { return n.is("myself") })
}

func (v view) byID(id string) (nodeLine, bool) {
	return v.find(func(n nodeLine) bool { return n.id == id })
}

// byPort prefers a line of a node that is in use: after a reset of one node the
// others may still list its former id at the same address.
func (v view) byPort(port int) (nodeLine, bool) {
	n, ok := v.find(func(n nodeLine) bool {
		return n.port == port && !n.is("handshake") && !n.is("noaddr")
	})
	if !ok {
		return v.find(func(n nodeLine) bool { return n.port == port })
	}
	return n, ok
}

func (s *Server) view(ctx context.Context) (view, error) {
	text, err := s.doString(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	return parseView(text)
}

func parseView(text string) (view, error) {
	var v view
	for line := range strings.Lines(text) {
		n, err := parseNodeLine(line)
		if err != nil {
			return nil, fmt.Errorf("localredis: CLUSTER NODES: %w in %q", err, line)
		}
		v = append(v, n)
	}
	return v, nil
}

// parseNodeLine reads
//
//	id ip:port@busport[,hostname] flags primary ping pong epoch link slots...
func parseNodeLine(line string) (nodeLine, error) {
	f := strings.Fields(line)
	if len(f) < 8 {
		return nodeLine{}, fmt.Errorf("%d fields", len(f))
	}
	n := nodeLine{id: f[0], flags: strings.Split(f[2], ","), linkUp: f[7] == "connected"}
	addr, _, _ := strings.Cut(f[1], "@")
	port, err := strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
	if err != nil {
		return nodeLine{}, err
	}
	n.port = port
	if f[3] != "-" {
		n.primary = f[3]
	}
	if n.epoch, err = strconv.ParseInt(f[6], 10, 64); err != nil {
		return nodeLine{}, err
	}
	return n, n.parseSlots(f[8:])
}

func (n *nodeLine) parseSlots(fields []string) error {
	for _, field := range fields {
		// "[93-<-id]" and "[93->-id]" are open slots: owned by whoever lists
		// the number itself.
		if strings.HasPrefix(field, "[") {
			continue
		}
		from, to, isRange := strings.Cut(field, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		if err != nil {
			return err
		}
		last, err := strconv.Atoi(to)
		if err != nil {
			return err
		}
		n.slots = append(n.slots, slotRange{first, last})
		n.rawSlots += " " + field
	}
	return nil
}
