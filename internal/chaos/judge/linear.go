package judge

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// register is the state of one key in the model: the version it has, 0 for
// none. Loose reports that an operation has failed that the library will
// repeat as a Delete, at any later time and any number of times.
type register struct {
	version uint64
	loose   bool
}

// opLoosen is the part of a failed write that makes a register loose.
const opLoosen history.OpKind = "fail"

type registerInput struct {
	kind    history.OpKind
	version uint64 // of opSet
}

// registerModel is a register that can be set, deleted and read. It begins
// empty. It says nothing of values that vanish by themselves: histories are
// recorded without expiry, eviction and faults of Redis.
var registerModel = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		r, in := state.(register), input.(registerInput)
		switch in.kind {
		case history.OpSet:
			return true, register{in.version, r.loose}
		case history.OpDelete:
			return true, register{0, r.loose}
		case opLoosen:
			return true, register{r.version, true}
		}
		got := output.(uint64)
		return got == r.version || got == 0 && r.loose, register{got, r.loose}
	},
	DescribeOperation: func(input, output any) string {
		in := input.(registerInput)
		switch in.kind {
		case history.OpSet:
			return fmt.Sprintf("set %d", in.version)
		case history.OpGet:
			return fmt.Sprintf("get: %s", versionText(output.(uint64)))
		}
		return string(in.kind)
	},
	DescribeState: func(state any) string {
		r := state.(register)
		if r.loose {
			return versionText(r.version) + ", a failed write may still delete it"
		}
		return versionText(r.version)
	},
}

func versionText(v uint64) string {
	if v == 0 {
		return "none"
	}
	return fmt.Sprint(v)
}

// linear checks the recorded operations of each key.
func (c *court) linear(o Options) {
	byKey := map[int][]history.Op{}
	for _, op := range c.p.Ops {
		byKey[op.Key] = append(byKey[op.Key], op)
	}
	for key, ops := range byKey {
		c.v.Linear.Keys++
		c.v.Linear.Ops += len(ops)
		result, info := porcupine.CheckOperationsVerbose(registerModel, operations(ops), o.LinearizableWithin)
		switch result {
		case porcupine.Illegal:
			c.v.Linear.Illegal++
			c.find(ruleLinear, 0, "the %d operations of %s are not linearizable%s", len(ops), c.key(key), c.draw(info, key, o))
		case porcupine.Unknown:
			c.v.Linear.Undecided++
			c.find(ruleLinear, 0, "the %d operations of %s were not decided within %v", len(ops), c.key(key), o.LinearizableWithin)
		}
	}
	if c.p.Porcupine && len(c.p.Ops) == 0 {
		c.v.Problems = append(c.v.Problems, "no operations: nothing was tested")
	}
}

// operations translates the history of a key. A write that failed never
// returns; its repetition as Delete is in opLoosen. A read that failed says
// nothing.
func operations(ops []history.Op) []porcupine.Operation {
	clients := 0
	for _, op := range ops {
		clients = max(clients, op.Client+1)
	}
	var all []porcupine.Operation
	for _, op := range ops {
		in := registerInput{op.Kind, op.Version}
		switch {
		case op.Unknown && op.Kind == history.OpGet:
		case op.Unknown:
			for _, in := range []registerInput{in, {kind: opLoosen}} {
				all = append(all, porcupine.Operation{ClientId: clients, Input: in, Call: int64(op.Call), Output: op.Version, Return: math.MaxInt64})
				clients++ // a client of its own: it overlaps what its client did next
			}
		default:
			all = append(all, porcupine.Operation{ClientId: op.Client, Input: in, Call: int64(op.Call), Output: op.Version, Return: int64(op.Return)})
		}
	}
	slices.SortStableFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	return all
}

// draw writes a drawing of a history, if there is a directory for it, and says
// where it is.
func (c *court) draw(info porcupine.LinearizationInfo, key int, o Options) string {
	if o.Drawings == "" {
		return ""
	}
	path := filepath.Join(o.Drawings, fmt.Sprintf("%s-key%d.html", fileName(c.p.Name), key))
	if err := porcupine.VisualizePath(registerModel, info, path); err != nil {
		return fmt.Sprintf("; drawing it failed: %v", err)
	}
	return ", see " + path
}

// fileName makes a file name of a name.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
}
