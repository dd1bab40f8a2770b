//go:build unix

package instance

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/fleetcache/fleetcache/internal/chaos/history"
)

// startRegister makes clients that set, get and delete the keys of
// ClassRegister, and record each operation.
func (p *phase) startRegister(w Work) {
	keys := p.byClass[history.ClassRegister]
	for i := range w.Readers {
		mine := keys
		if w.ClientPerKey {
			mine = nil
			for j := i; j < len(keys); j += w.Readers {
				mine = append(mine, keys[j])
			}
		}
		client := p.args.Instance*w.Readers + i
		p.writers.Go(func() { p.operate(client, mine, w.Register) })
	}
}

// operate does n operations on random keys, or fewer if the phase ends.
func (p *phase) operate(client int, keys []int, n int) {
	for range n {
		if p.writing.Err() != nil || len(keys) == 0 {
			return
		}
		op := history.Op{Key: keys[rand.IntN(len(keys))], Client: client}
		switch dice := rand.IntN(10); {
		case dice < 6:
			op.Kind = history.OpGet
		case dice < 9:
			op.Kind = history.OpSet
		default:
			op.Kind = history.OpDelete
		}
		if !p.operateOne(&op) {
			return
		}
		p.rec.operated(op)
		time.Sleep(rand.N(2 * time.Millisecond)) // sets the rate; decides nothing
	}
}

// operateOne does one operation, and reports whether it could be begun.
func (p *phase) operateOne(op *history.Op) bool {
	k := p.args.Keys[op.Key]
	svc := p.service[op.Key]
	ctx, cancel := context.WithTimeout(context.Background(), readPatience)
	defer cancel()
	if op.Kind == history.OpSet {
		v, err := p.commit(ctx, string(op.Kind), 0, op.Key)
		if err != nil {
			return false
		}
		op.Version = v[0]
	}
	op.Call = history.Now()
	var err error
	switch op.Kind {
	case history.OpSet:
		err = svc.Set(ctx, k.ID, Row{k.ID, op.Version})
	case history.OpDelete:
		err = svc.Delete(ctx, k.ID)
	case history.OpGet:
		var r Row
		var found bool
		if r, found, err = svc.Get(ctx, k.ID); found {
			op.Version = r.Version
		}
	}
	op.Return = history.Now()
	op.Unknown = err != nil
	p.rec.called("register " + string(op.Kind))
	return true
}
