package lock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

// long is the Config of tests in which nothing is extended and nothing expires.
func long() Config { return Config{TTL: time.Hour, OpTimeout: 2 * time.Second} }

// wholeLock takes a lock and waits until all nodes have it.
func wholeLock(t *testing.T, l *Locker, servers []*localredis.Server) *Lock {
	t.Helper()
	k := acquire(t, l, "n")
	for _, s := range servers {
		until(t, "all votes", func() bool { return exists(t, s, redlockKey) })
	}
	return k
}

// A node that was restarted has forgotten votes, or may have. The holder has the
// votes of two nodes, because it never got the first. One of the two forgets, so a
// majority would be free for a rival, who does not get it.
func TestRedlockForgetfulNode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args []string
		keep bool // what was written before the restart is still there
	}{
		{"without a file", []string{"--appendonly", "no", "--save", ""}, false},
		{"with a file", nil, true},
	} {
		for _, fl := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
			t.Run(c.name+"/"+string(fl), func(t *testing.T) {
				t.Parallel()
				servers, opts := trioOf(t, fl, c.args...)
				k := wholeLock(t, openRedlock(t, opts, long()), servers)
				do(t, servers[0], "DEL", redlockKey)
				if err := errors.Join(servers[1].Kill(), servers[1].Start()); err != nil {
					t.Fatal(err)
				}
				do(t, servers[1], "DEL", redlockKey) // as if the end of the file was lost
				if exists(t, servers[1], "cache:redlock:{all}") != c.keep {
					t.Fatalf("the server's memory of its past: %v", !c.keep)
				}
				_, err := openRedlock(t, opts, long()).TryAcquire(t.Context(), "n")
				mustErr(t, "TryAcquire with a vote that was forgotten", err, ErrNotAcquired)
				if !strings.Contains(err.Error(), "abstain") {
					t.Errorf("TryAcquire = %v, want the abstention in it", err)
				}
				// A holder with a majority gets it back, from a node that abstains too.
				do(t, servers[0], "SET", redlockKey, k.id, "PX", "60000")
				mustErr(t, "Extend", k.Extend(t.Context()), nil)
				if !exists(t, servers[0], redlockKey) || !exists(t, servers[1], redlockKey) {
					t.Error("the votes are not back")
				}
				release(t, k)
			})
		}
	}
}

// A promoted replica abstains, too: its primary's last votes may not have
// reached it. When the time of the longest of them is over, it votes.
func TestRedlockPromotedReplica(t *testing.T) {
	t.Parallel()
	cfg := quick().withDefaults()
	for _, fl := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(fl), func(t *testing.T) {
			t.Parallel()
			s := localredis.Standalone(t, fl)
			settle(t, s, "cache:redlock:{all}")
			n := newNode("s", cfg, deploymentTag)
			mustErr(t, "connect", n.connect(t.Context(), option(s.Addr()), cfg), nil)
			t.Cleanup((*n.client.Load()).Close)
			vote := func(name, id string, back bool) vote {
				v, err := n.cast(t.Context(), name, id, cfg.TTL, back)
				mustErr(t, "cast", err, nil)
				return v
			}
			if v := vote("n", "a", false); !v.held {
				t.Fatalf("vote = %+v", v)
			}
			// A promotion changes the replication id. What a server does that is
			// promoted without its primary's last writes: it has another id, and
			// the vote is not there.
			host, port, _ := strings.Cut(localredis.Standalone(t, fl).Addr(), ":")
			_, err := s.Pipeline(t.Context(), []string{"REPLICAOF", host, port}, []string{"REPLICAOF", "NO", "ONE"}) // at once: nothing is replicated
			mustErr(t, "REPLICAOF", err, nil)
			do(t, s, "DEL", redlockKey)
			start := time.Now()
			if v := vote("n", "b", false); v.held || !v.abstains || v.left > cfg.TTL {
				t.Errorf("the promoted one's vote = %+v, want abstention for %v at most", v, cfg.TTL)
			}
			if v := vote("n", "a", true); !v.held {
				t.Errorf("the holder's vote = %+v, want it back", v)
			}
			if v := vote("n", "b", true); v.held || v.holder != "a" {
				t.Errorf("vote for another = %+v, want that of a", v)
			}
			until(t, "the end of the abstention", func() bool { return vote("other", "b", false).held })
			if d := time.Since(start); d < cfg.TTL-10*time.Millisecond {
				t.Errorf("voted after %v, want %v", d, cfg.TTL)
			}
		})
	}
}

// A holder with a majority gets back what a node forgot, by extending itself;
// one without gets nothing: somebody else may have the majority by now.
func TestRedlockVotesComeBack(t *testing.T) {
	t.Parallel()
	servers, opts := trio(t)
	l := openRedlock(t, opts, quick())
	k := wholeLock(t, l, servers)
	do(t, servers[2], "DEL", redlockKey)
	until(t, "the vote to be back", func() bool { return exists(t, servers[2], redlockKey) })
	do(t, servers[1], "DEL", redlockKey)
	do(t, servers[2], "DEL", redlockKey)
	event(t, "the end of the lock", k.Context().Done())
	if !Lost(k.Context()) || exists(t, servers[1], redlockKey) || exists(t, servers[2], redlockKey) {
		t.Errorf("cause %v, or votes came back without a majority", context.Cause(k.Context()))
	}
	mustErr(t, "Release", k.Release(t.Context()), ErrLost)
	until(t, "the last vote to be gone", func() bool { return !exists(t, servers[0], redlockKey) })
	if st := l.Stats(); st.Lost != 1 || st.Acquired != 1 || st.Extensions == 0 {
		t.Errorf("stats = %+v", st)
	}
}

// A server that never voted and has just been started abstains until it has run
// for a TTL. Until then the lock can be waited for.
func TestRedlockNewServers(t *testing.T) {
	t.Parallel()
	var opts = opening(t, localredis.Redis)
	cfg := Config{TTL: 6 * time.Second, OpTimeout: 900 * time.Millisecond}.withDefaults()
	l := openRedlock(t, opts, cfg)
	_, err := l.TryAcquire(t.Context(), "n")
	mustErr(t, "TryAcquire", err, ErrNotAcquired)
	start := time.Now()
	release(t, acquire(t, l, "n"))
	if d := time.Since(start); d > 2*cfg.TTL {
		t.Errorf("waited %v for servers that abstain for %v at most", d, cfg.TTL)
	}
	if l.Stats().Abstained == 0 {
		t.Error("no abstention was counted")
	}
}

// Who kept each other from a majority try again soon, and not when the votes of
// the others, which are given back, would end.
func TestRedlockLeft(t *testing.T) {
	t.Parallel()
	e := &redlock{cfg: long(), nodes: make([]*node, 3)}
	far := 30 * time.Minute
	for _, c := range []struct {
		name     string
		votes    []vote
		from, to time.Duration
	}{
		{"split", []vote{{said: true, held: true}, {said: true, left: far, holder: "a"}, {said: true, left: far, holder: "b"}}, 0, 2 * spread},
		{"a majority", []vote{{said: true, left: far, holder: "a"}, {said: true, left: far, holder: "a"}, {}}, far, far + 2*spread},
		{"one holder and a silent node", []vote{{said: true, held: true}, {}, {said: true, left: far, holder: "a"}}, 0, e.cfg.OpTimeout + 2*spread},
		{"abstention", []vote{{said: true, held: true}, {said: true, left: time.Second, abstains: true}, {said: true, left: far, abstains: true}}, time.Second, time.Second + 2*spread},
	} {
		if got := e.left(&ballot{votes: c.votes}); got < c.from || got > c.to {
			t.Errorf("%s: %v, want %v to %v", c.name, got, c.from, c.to)
		}
	}
}
