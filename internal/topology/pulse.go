package topology

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/near"
)

// pulse sends a node its beats until the node leaves or the watcher closes.
func (w *Watcher) pulse(n *Node) {
	tick := time.NewTicker(w.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-n.stop:
			return
		case <-tick.C:
		case <-n.poke:
		}
		if w.beat(w.ctx, n) != nil {
			n.beatSoon() // until it answers, ask more often
		}
		// A feed that dies with every beat asks for one each time: not more
		// than ten per interval.
		if !w.pause(w.cfg.Heartbeat / 10) {
			return
		}
	}
}

// beat sends one beat and records what came of it. The reply that counts for
// the feed is the one the store of the connection processes; this one closes
// the breaker.
func (w *Watcher) beat(ctx context.Context, n *Node) error {
	client := w.cfg.Client.Nodes()[n.Addr]
	if client == nil {
		w.touch(ctx, n)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	sent := w.cfg.Table.Clock().Now()
	res := client.DoMulti(ctx, w.beatCommands(client.B(), n)...)
	err := firstError(res)
	if w.ctx.Err() != nil {
		return err
	}
	if err != nil {
		w.failed(n, err)
		return err
	}
	if err := w.role(n, res[0]); err != nil {
		w.failed(n, err)
		return err
	}
	n.lastErr.Store(nil)
	n.heard.Store(sent)
	n.answered.Store(true)
	if n.br.close() {
		w.cfg.Logger.Info("fleetcache: node answers again", "node", n.Addr)
		if w.cfg.OnUp != nil {
			w.cfg.OnUp(n)
		}
	}
	return nil
}

// failed records a beat that was not answered as it should be.
func (w *Watcher) failed(n *Node, err error) {
	text := err.Error()
	n.lastErr.Store(&text)
	if n.br.fail() {
		w.down(n, err)
	}
	w.Look()
}

// beatCommands returns the commands of a beat, pinned because rueidis may
// recycle a command it sends twice too early. rueidis hands a marked reply to the store only behind an
// unmarked one, so the first command is unmarked. ROLE tells a primary that
// was demoted without a cluster (Sentinel). The ECHO comes last: when it is
// processed, the refusal of the keyed read has been too.
func (w *Watcher) beatCommands(b rueidis.Builder, n *Node) []rueidis.Completed {
	own, pushed := n.own.Load(), w.cfg.Table.Pushed()
	var cmds []rueidis.Completed
	if own == nil {
		cmds = append(cmds, b.Role().Build().Pin())
	} else {
		cmds = append(cmds, b.Ping().Build().Pin())
		keyed := b.Get().Key(own.key).Build().Pin()
		if pushed {
			keyed = marked(keyed)
		}
		cmds = append(cmds, keyed)
	}
	echo := b.Arbitrary("ECHO", w.cfg.Table.Beat(n.Addr)).Build().Pin()
	if pushed {
		echo = marked(echo)
	}
	return append(cmds, echo)
}

func marked(c rueidis.Completed) rueidis.Completed {
	return rueidis.Completed(rueidis.Cacheable(c).ToStaticTTL())
}

func firstError(res []rueidis.RedisResult) error {
	for i, r := range res {
		err := r.Error()
		if err == nil || rueidis.IsRedisNil(err) {
			continue
		}
		if _, ok := rueidis.IsRedisErr(err); ok && i == 0 {
			continue // ROLE may be forbidden by an ACL; then it says nothing
		}
		return err
	}
	return nil
}

// errReplica is what a beat of a node says that is no primary any more.
var errReplica = errors.New("it is a replica now")

// role ends the feed of a node that says it is no primary: it hears of changes
// only as long as its primary reaches it, and takes no writes.
func (w *Watcher) role(n *Node, r rueidis.RedisResult) error {
	if n.own.Load() != nil {
		return nil // in a cluster the keyed read tells
	}
	arr, err := r.ToArray()
	if err != nil || len(arr) == 0 {
		return nil
	}
	if s, _ := arr[0].ToString(); s != "slave" && s != "replica" {
		return nil
	}
	w.cfg.Table.ResetNode(n.Addr)
	w.Demotions.Add(1)
	return errReplica
}

// touch makes rueidis learn of a primary it does not know yet: a command for
// one of its slots is redirected there.
func (w *Watcher) touch(ctx context.Context, n *Node) {
	own := n.own.Load()
	if own == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	_ = w.cfg.Client.Do(ctx, w.cfg.Client.B().Get().Key(own.key).Build().Pin()).Error() // only its redirection matters
}

// ownKey returns a key of the slot, for the keyed part of a beat. It takes
// some thousand tries to find one, half a millisecond.
func ownKey(prefix string, slot uint16) string {
	for i := 0; ; i++ {
		tag := strconv.FormatInt(int64(i), 36)
		if hashslot.Of(tag) == slot {
			return prefix + ":" + near.OwnMark + ":{" + tag + "}"
		}
	}
}
