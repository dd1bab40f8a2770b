package redisnode

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// slotRange is an inclusive range of slots.
type slotRange struct{ first, last int }

// String returns "slot 7" or "slots 7-9".
func (r slotRange) String() string {
	if r.first == r.last {
		return "slot " + strconv.Itoa(r.first)
	}
	return fmt.Sprintf("slots %d-%d", r.first, r.last)
}

// nodeLine is one line of CLUSTER NODES: what one node believes about one node.
type nodeLine struct {
	id       string
	addr     string // "ip:port", the announced address
	flags    []string
	primary  string // id; "" for a primary
	epoch    int64
	linkUp   bool
	slots    []slotRange
	rawSlots string // the slot ranges as printed, without open slots
	open     bool   // has open slots
}

func (n nodeLine) is(flag string) bool { return slices.Contains(n.flags, flag) }

func (n nodeLine) owns(slot int) bool {
	return slices.ContainsFunc(n.slots, func(r slotRange) bool {
		return r.first <= slot && slot <= r.last
	})
}

// view is the answer of one node to CLUSTER NODES.
type view []nodeLine

// ownsAll reports whether n owns every slot of r. Servers print neighbouring
// slots as one range, so one range has them all.
func (n nodeLine) ownsAll(r slotRange) bool {
	return slices.ContainsFunc(n.slots, func(own slotRange) bool {
		return own.first <= r.first && r.last <= own.last
	})
}

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

// byAddr prefers a line of a node that is in use: after a reset of one node the
// others may still list its former id at the same address.
func (v view) byAddr(addr Address) (nodeLine, bool) {
	at := addr.String()
	n, ok := v.find(func(n nodeLine) bool {
		return n.addr == at && !n.is("handshake") && !n.is("noaddr")
	})
	if !ok {
		return v.find(func(n nodeLine) bool { return n.addr == at })
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
			return nil, fmt.Errorf("redisnode: CLUSTER NODES: %w in %q", err, line)
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
	colon := strings.LastIndexByte(addr, ':')
	if _, err := strconv.Atoi(addr[colon+1:]); err != nil {
		return nodeLine{}, err
	}
	// As Address prints it: an IPv6 address is listed without brackets.
	n.addr = net.JoinHostPort(addr[:max(colon, 0)], addr[colon+1:])
	var err error
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
			n.open = true
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
