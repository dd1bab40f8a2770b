package sweep

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/hashslot"
	"github.com/fleetcache/fleetcache/internal/topology"
)

// lookInterval is the usual time between two looks during a pass.
const lookInterval = 100 * time.Millisecond

// look asks every node about itself. Those that do not answer are in the view
// as silent; an error ends the sweep.
func (s *sweeper) look(ctx context.Context) (*view, error) {
	v := newView()
	if s.client.Mode() != rueidis.ClientModeCluster {
		return v, s.lookSingle(ctx, v)
	}
	asked := s.client.Nodes()
	if err := s.ask(ctx, v, asked); err != nil {
		return nil, err
	}
	v.resolve()
	slots := v.strangers()
	if len(slots) == 0 {
		return v, nil
	}
	s.introduce(ctx, slots)
	more := s.client.Nodes()
	for addr := range asked {
		delete(more, addr)
	}
	if err := s.ask(ctx, v, more); err != nil {
		return nil, err
	}
	v.resolve()
	return v, nil
}

// ask lets the nodes speak for themselves, side by side.
func (s *sweeper) ask(ctx context.Context, v *view, nodes map[string]rueidis.Client) error {
	var (
		mu     sync.Mutex // protects v, closed, refusal
		wg     sync.WaitGroup
		closed int
		fatal  error
	)
	for addr, c := range nodes {
		wg.Go(func() {
			m, err := s.askNode(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				v.members[m.id] = m
			case errors.Is(err, rueidis.ErrClosing):
				closed++
				v.silent[addr] = err
			case !transient(err):
				fatal = nodeError(addr, err)
			default:
				v.silent[addr] = err
			}
		})
	}
	wg.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fatal != nil:
		return fatal
	case len(nodes) > 0 && closed == len(nodes):
		return rueidis.ErrClosing // the client, not a node that left
	}
	return nil
}

// verbatim is what RESP3 puts in front of a text; the client leaves it there.
const verbatim = "txt:"

// askNode asks one node of a cluster.
func (s *sweeper) askNode(ctx context.Context, c rueidis.Client) (*member, error) {
	var nodes, info string
	err := s.within(ctx, func(ctx context.Context) (err error) {
		r := c.DoMulti(ctx, c.B().ClusterNodes().Build().Pin(),
			c.B().Info().Section("server", "commandstats").Build().Pin())
		if nodes, err = r[0].ToString(); err != nil {
			return fmt.Errorf("CLUSTER NODES: %w", err)
		}
		info, err = infoOf(r[1])
		return err
	})
	if err != nil {
		return nil, err
	}
	nodes = strings.TrimPrefix(nodes, verbatim)
	for line := range strings.Lines(nodes) {
		if n, ok := parseLine(line); ok && n.myself {
			return &member{nodeLine: n, client: c, nodes: nodes,
				run: infoField(info, "run_id:"), arrivals: arrivals(info)}, nil
		}
	}
	return nil, errors.New("CLUSTER NODES: no line of the node itself")
}

// infoOf returns an INFO reply, "" where it is refused.
func infoOf(r rueidis.RedisResult) (string, error) {
	info, err := r.ToString()
	if _, refused := rueidis.IsRedisErr(err); refused && !transient(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("INFO: %w", err)
	}
	return info, nil
}

// singleID is the node id of the only member outside a cluster.
const singleID = "single"

// lookSingle makes the primary of a deployment without slots the owner of all.
// With Sentinel, the client finds the primary.
func (s *sweeper) lookSingle(ctx context.Context, v *view) error {
	var info string
	err := s.within(ctx, func(ctx context.Context) (err error) {
		info, err = infoOf(s.client.Do(ctx, s.client.B().Info().Build().Pin()))
		return err
	})
	addr := s.singleAddr()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, rueidis.ErrClosing):
		return err
	case err == nil && infoField(info, "role:") == "slave":
		err = errors.New("is a replica")
	}
	if err != nil {
		v.silent[addr] = err
	} else {
		n := &nodeLine{id: singleID, addr: addr, primary: true, slots: *allSlots()}
		v.members[singleID] = &member{nodeLine: n, client: s.client, run: infoField(info, "run_id:")}
	}
	v.resolve()
	return nil
}

// singleAddr names the server for messages.
func (s *sweeper) singleAddr() string {
	for addr := range s.client.Nodes() {
		return addr
	}
	return "of the client"
}

// introduce makes the client connect to nodes it does not know, by asking for a
// key that is not there: the owner of an open slot, or a former owner, then
// redirects it. A new primary without slots is in no other list of the client.
// Whether it worked shows when the client is asked for its nodes.
func (s *sweeper) introduce(ctx context.Context, slots []uint16) {
	ctx, cancel := context.WithTimeout(ctx, min(s.opt.OpTimeout, introduceTimeout))
	defer cancel()
	cmds := make(rueidis.Commands, len(slots))
	for i, slot := range slots {
		cmds[i] = s.client.B().Exists().Key(absentKey(s.opt.Match, slot)).Build().Pin()
	}
	s.client.DoMulti(ctx, cmds...)
}

// introduceTimeout is short because a node that is down does not answer, and
// the look waits.
const introduceTimeout = time.Second

// absentKey returns a key of the slot that nobody uses, with what the pattern
// begins with, so that an ACL for these keys allows it.
func absentKey(match string, slot uint16) string {
	head := match
	if i := strings.IndexAny(match, `*?[\{`); i >= 0 {
		head = match[:i]
	}
	for i := 0; ; i++ {
		tag := "sweep-" + strconv.Itoa(i)
		if hashslot.Of(tag) == slot {
			return head + "{" + tag + "}"
		}
	}
}

// transient reports whether a command may succeed when it is sent again.
func transient(err error) bool {
	var re *rueidis.RedisError
	if !errors.As(err, &re) || topology.Unreachable(re) {
		return true
	}
	return strings.HasPrefix(re.Error(), "MISCONF")
}
