package fleetcache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/lease"
	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
)

// aclRules returns the rules that docs/operations.md, or docs/locks.md, gives in
// its block of the name: what is tested is what is documented.
func aclRules(t *testing.T, name string) []string {
	t.Helper()
	var text []byte
	for _, doc := range []string{"docs/operations.md", "docs/locks.md"} {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	m := regexp.MustCompile("(?s)<!-- acl: " + name + " -->\n+```\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("no document has a block of ACL rules named %q", name)
	}
	return strings.Fields(string(m[1]))
}

// aclNode is a server whose users the test makes.
type aclNode interface {
	Do(ctx context.Context, args ...string) (any, error)
}

// setUser gives a node a user with exactly the rules.
func setUser(t *testing.T, n aclNode, user string, rules []string) {
	t.Helper()
	args := append([]string{"ACL", "SETUSER", user, "reset", "on", ">pw"}, rules...)
	if _, err := n.Do(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// without returns the rules less one.
func without(rules []string, rule string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r == rule })
}

// commands returns the rules that allow a command.
func commands(rules []string) []string {
	return slices.DeleteFunc(slices.Clone(rules), func(r string) bool { return r[0] != '+' })
}

// Every method works for a user with the documented rules, and with any one
// command less something fails: no rule is missing and none is superfluous.
func TestACLOfStandalone(t *testing.T) {
	t.Parallel()
	for _, flavor := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			srv := localredis.Standalone(t, flavor)
			url := func(user string) string { return "redis://" + user + ":pw@" + srv.Addr() }
			rules := aclRules(t, "data")
			setUser(t, srv, "full", rules)
			if err := exercise(t.Context(), url("full"), srv, "full"); err != nil {
				t.Errorf("with all rules: %v", err)
			}
			for i, rule := range commands(rules) {
				user := fmt.Sprint("less", i)
				setUser(t, srv, user, without(rules, rule))
				if err := exercise(t.Context(), url(user), srv, user); err == nil {
					t.Errorf("nothing fails without %s", rule)
				} else {
					t.Logf("without %s: %v", rule, err)
				}
			}
		})
	}
}

func TestACLOfCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	rules := append(aclRules(t, "data"), aclRules(t, "cluster")...)
	for _, n := range c.Nodes() {
		setUser(t, n, "full", rules)
		setUser(t, n, "less", without(rules, "+cluster|slots"))
	}
	url := func(user string) string { return "redis://" + user + ":pw@" + strings.Join(c.Addrs(), ",") }
	if err := exercise(t.Context(), url("full"), nil, "full"); err != nil {
		t.Errorf("with all rules: %v", err)
	}
	if err := exercise(t.Context(), url("less"), nil, "less"); err == nil {
		t.Error("nothing fails without +cluster|slots")
	}
	// Another prefix: also of the keys that the Manager itself reads.
	for _, n := range c.Nodes() {
		setUser(t, n, "other", append(without(rules, "~cache:*"), "~other:*"))
	}
	if err := exercise(t.Context(), url("other"), nil, "other"); err != nil {
		t.Errorf("with another prefix: %v", err)
	}
	if err := exercise(t.Context(), url("full"), nil, "other"); err == nil {
		t.Error("nothing fails with a prefix that the user has no keys of")
	}
}

func TestACLOfSentinel(t *testing.T) {
	t.Parallel()
	s := localredis.NewSentinel(t, localredis.SentinelConfig{})
	rules := append(aclRules(t, "data"), aclRules(t, "sentinel")...)
	for _, n := range s.Nodes() {
		setUser(t, n, "full", rules)
		setUser(t, n, "less", without(rules, "+role"))
	}
	url := func(user string) string {
		return "redis://" + user + ":pw@" + strings.Join(s.Addrs(), ",") + "?master_set=" + s.MasterName
	}
	if err := exercise(t.Context(), url("full"), nil, "full"); err != nil {
		t.Errorf("with all rules: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := exercise(ctx, url("less"), nil, "less"); err == nil {
		t.Error("nothing fails without +role")
	}
}

// exercise uses every method of a service that the rules of the block "data" are
// for, and says what did not work. The server, if it is given, forgets its
// scripts first: sending them is among what must be allowed. The namespace
// "other" has the prefix "other", too.
func exercise(ctx context.Context, url string, srv *localredis.Server, ns string) error {
	o := rc.Options{}
	if ns == "other" {
		o.Prefix = ns
	}
	return exerciseWith(ctx, url, srv, ns, o, everything...)
}

var everything = []func(*user) error{
	(*user).manager, (*user).writes, (*user).loads, (*user).slowLoad, (*user).expires, (*user).batches, (*user).groups,
}

// exerciseWith does some of it, with a Manager of its own.
func exerciseWith(ctx context.Context, url string, srv *localredis.Server, ns string, o rc.Options, steps ...func(*user) error) error {
	if srv != nil {
		if _, err := srv.Do(ctx, "SCRIPT", "FLUSH"); err != nil {
			return err
		}
	}
	o.OpTimeout = cmp.Or(o.OpTimeout, 2*time.Second) // a busy machine is no missing rule
	if o.Coherence == rc.Tracking {
		o.MaxStaleness = cmp.Or(o.MaxStaleness, 10*time.Second)
	}
	m, err := rc.Open(ctx, url, o)
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := rc.New(m, ns, rc.Config[string]{LeaseTTL: 900 * time.Millisecond, StaleFor: time.Minute, ErrorBackoff: time.Hour})
	if err != nil {
		return err
	}
	bare, err := rc.New(m, ns, rc.Config[string]{L1Size: rc.Off, StaleFor: time.Minute})
	if err != nil {
		return err
	}
	u := &user{ctx: ctx, m: m, s: s, bare: bare, announced: o.Coherence == rc.Broadcast}
	for _, step := range steps {
		if err := step(u); err != nil {
			return err
		}
	}
	if st := m.Stats(); st.FillsFailed+st.InvalidationErrors+st.MarkErrors+st.DegradedLoads > 0 {
		return fmt.Errorf("failures are counted: %+v", st)
	}
	return nil
}

// user is a service at work; bare is the same without a memory tier.
type user struct {
	ctx     context.Context
	m       *rc.Manager
	s, bare *rc.CacheService[string]
	// announced reports that an announcement may come after the read it is
	// about, which costs one more read.
	announced bool
}

func (u *user) manager() error {
	if err := u.m.Ping(u.ctx); err != nil {
		return err
	}
	if !u.m.Available() {
		return fmt.Errorf("not available: %+v", u.m.Health())
	}
	return nil
}

func loadOf(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

// found checks a value and the tier it comes from.
func (u *user) found(s *rc.CacheService[string], id, want string, from rc.Source) error {
	it, err := s.Lookup(u.ctx, id)
	for began := time.Now(); u.announced && err == nil && it.Source != from && time.Since(began) < 2*rc.DefaultMaxStaleness; {
		it, err = s.Lookup(u.ctx, id)
	}
	if err != nil || it.Value != want || it.Source != from {
		return fmt.Errorf("Lookup(%q) = %+v, %v, want %q from %v", id, it, err, want, from)
	}
	return nil
}

func (u *user) writes() error {
	if err := u.s.Set(u.ctx, "a", "1"); err != nil {
		return err
	}
	if err := errors.Join(u.found(u.s, "a", "1", rc.FromL1), u.found(u.bare, "a", "1", rc.FromL2)); err != nil {
		return err
	}
	if _, found, err := u.s.TTL(u.ctx, "a"); err != nil || !found {
		return fmt.Errorf("TTL: %v, %v", found, err)
	}
	if err := u.s.Delete(u.ctx, "a"); err != nil {
		return err
	}
	if ok, err := u.s.Exists(u.ctx, "a"); ok || err != nil {
		return fmt.Errorf("Exists after Delete = %v, %v", ok, err)
	}
	return nil
}

func (u *user) loads() error {
	if v, err := u.s.GetOrSet(u.ctx, "b", loadOf("1")); v != "1" || err != nil {
		return fmt.Errorf("GetOrSet = %q, %v", v, err)
	}
	if err := errors.Join(u.found(u.s, "b", "1", rc.FromL1), u.found(u.bare, "b", "1", rc.FromL2)); err != nil {
		return err
	}
	if v, err := u.s.Refresh(u.ctx, "b", loadOf("2")); v != "2" || err != nil {
		return fmt.Errorf("Refresh = %q, %v", v, err)
	}
	if err := u.found(u.bare, "b", "2", rc.FromL2); err != nil {
		return err
	}
	none := func(context.Context) (string, error) { return "", rc.ErrNotFound }
	if _, err := u.bare.GetOrSet(u.ctx, "c", none); !errors.Is(err, rc.ErrNotFound) {
		return fmt.Errorf("GetOrSet of what is not there = %w", err)
	}
	boom := errors.New("boom")
	fails := func(context.Context) (string, error) { return "", boom }
	for _, want := range []error{boom, rc.ErrBackoff} {
		if _, err := u.s.GetOrSet(u.ctx, "d", fails); !errors.Is(err, want) {
			return fmt.Errorf("GetOrSet with a failing load = %v, want %v", err, want)
		}
	}
	return nil
}

// slowLoad loads for as long as it takes to see the claim prolonged.
func (u *user) slowLoad() error {
	k, err := u.s.Key("slow")
	if err != nil {
		return err
	}
	c := u.m.Client()
	_, err = u.s.GetOrSet(u.ctx, "slow", func(ctx context.Context) (string, error) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for last := int64(1 << 60); ; <-tick.C {
			left, err := c.Do(ctx, c.B().Pttl().Key(lease.Key(k)).Build()).AsInt64()
			if err != nil || left < 0 {
				return "", fmt.Errorf("the claim ended while its load ran: %d, %v", left, err)
			}
			if left > last {
				return "prolonged", nil
			}
			last = left
		}
	})
	return err
}

func (u *user) expires() error {
	if err := u.bare.Set(u.ctx, "e", "1"); err != nil {
		return err
	}
	if err := u.s.Expire(u.ctx, "e"); err != nil {
		return err
	}
	for _, s := range []*rc.CacheService[string]{u.s, u.bare} {
		if v, found, err := s.Get(u.ctx, "e"); found || err != nil {
			return fmt.Errorf("Get after Expire = %q, %v, %v", v, found, err)
		}
	}
	return nil
}

func (u *user) batches() error {
	load := func(_ context.Context, ids []string) (map[string]string, error) {
		out := map[string]string{}
		for _, id := range ids {
			out[id] = id
		}
		return out, nil
	}
	ids := []string{"m1", "m2", "m3"}
	for _, s := range []*rc.CacheService[string]{u.s, u.bare} {
		if got, err := s.GetOrSetMany(u.ctx, ids, load); err != nil || len(got) != 3 {
			return fmt.Errorf("GetOrSetMany = %v, %w", got, err)
		}
	}
	if err := u.found(u.s, "m2", "m2", rc.FromL1); err != nil {
		return err
	}
	if err := u.s.SetMany(u.ctx, map[string]string{"m1": "new"}); err != nil {
		return err
	}
	if err := u.found(u.bare, "m1", "new", rc.FromL2); err != nil {
		return err
	}
	return u.s.DeleteMany(u.ctx, ids)
}

// groups uses what invalidates more than one value, but for patterns, and what
// leaves a version behind.
func (u *user) groups() error {
	for name, verb := range map[string]func() error{
		"InvalidateTag": func() error { return u.m.InvalidateTag(u.ctx, "t") },
		"ExpireTag":     func() error { return u.m.ExpireTag(u.ctx, "t") },
		"Clear":         func() error { return u.s.Clear(u.ctx) },
		"ExpireAll":     func() error { return u.s.ExpireAll(u.ctx) },
		"DeleteBefore":  func() error { return u.s.DeleteBefore(u.ctx, "g", 7) },
	} {
		if err := u.s.Set(u.ctx, "g", "1", rc.WithTags("t", "u")); err != nil {
			return err
		}
		if err := u.found(u.bare, "g", "1", rc.FromL2); err != nil {
			return err
		}
		if err := verb(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, s := range []*rc.CacheService[string]{u.s, u.bare} {
			if v, found, err := s.Get(u.ctx, "g"); found || err != nil {
				return fmt.Errorf("Get after %s = %q, %v, %v", name, v, found, err)
			}
		}
	}
	return u.m.Flush(u.ctx)
}

// eachRule gives run a user with all rules of base and block, and then one for
// each rule of the block less: the first must succeed, the others must not.
func eachRule(t *testing.T, nodes []aclNode, base, block []string, run func(user string) error) {
	t.Helper()
	give := func(user string, rules []string) {
		for _, n := range nodes {
			setUser(t, n, user, rules)
		}
	}
	all := append(slices.Clip(base), block...)
	give("full", all)
	if err := run("full"); err != nil {
		t.Errorf("with all rules: %v", err)
	}
	for i, rule := range block {
		user := fmt.Sprint("less", i)
		give(user, without(all, rule))
		if err := run(user); err == nil {
			t.Errorf("nothing fails without %s", rule)
		} else {
			t.Logf("without %s: %v", rule, err)
		}
	}
}

// onFlavors runs a test on a standalone server of each kind; of one in short mode.
func onFlavors(t *testing.T, test func(t *testing.T, srv *localredis.Server)) {
	for _, flavor := range localredis.Flavors(t.Name(), testing.Short()) {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			test(t, localredis.Standalone(t, flavor))
		})
	}
}

func urlOf(user string, addrs ...string) string {
	return "redis://" + user + ":pw@" + strings.Join(addrs, ",")
}

func clusterNodes(c *localredis.Cluster) (nodes []aclNode) {
	for _, n := range c.Nodes() {
		nodes = append(nodes, n)
	}
	return nodes
}

// In a cluster slots move: a key of an open slot is at the node it goes to.
func TestACLOfOpenSlot(t *testing.T) {
	t.Parallel()
	for _, flavor := range []localredis.Flavor{localredis.Redis, localredis.Valkey} {
		t.Run(string(flavor), func(t *testing.T) {
			t.Parallel()
			c := localredis.NewCluster(t, localredis.ClusterConfig{Flavor: flavor})
			block := aclRules(t, "cluster")
			if flavor == localredis.Valkey {
				block = append(block, aclRules(t, "cluster-8")...)
			}
			eachRule(t, clusterNodes(c), aclRules(t, "data"), block, func(name string) error {
				return exerciseWith(t.Context(), urlOf(name, c.Addrs()...), nil, name, rc.Options{}, func(u *user) error {
					if err := u.s.Set(u.ctx, "moving", "1"); err != nil {
						return err
					}
					stable := openSlot(t, c, u.s, "moving")
					defer stable()
					return u.found(u.bare, "moving", "1", rc.FromL2)
				})
			})
		})
	}
}

// openSlot begins to move the slot of a value from its node to another one, with
// the value. The returned function gives the move up.
func openSlot(t *testing.T, c *localredis.Cluster, s *rc.CacheService[string], id string) (stable func()) {
	t.Helper()
	k, err := s.Key(id)
	if err != nil {
		t.Fatal(err)
	}
	slot := localredis.Slot(k)
	from, err := c.PrimaryOf(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	to := c.Nodes()[0]
	if to == from {
		to = c.Nodes()[1]
	}
	do := func(n *localredis.Server, args ...string) string {
		t.Helper()
		v, err := n.Do(t.Context(), args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return fmt.Sprint(v)
	}
	number := fmt.Sprint(slot)
	do(to, "CLUSTER", "SETSLOT", number, "IMPORTING", do(from, "CLUSTER", "MYID"))
	do(from, "CLUSTER", "SETSLOT", number, "MIGRATING", do(to, "CLUSTER", "MYID"))
	host, port, _ := strings.Cut(to.Addr(), ":")
	do(from, "MIGRATE", host, port, k, "0", "5000")
	return func() {
		do(to, "CLUSTER", "SETSLOT", number, "STABLE")
		do(from, "CLUSTER", "SETSLOT", number, "STABLE")
	}
}

func TestACLOfPatterns(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		eachRule(t, []aclNode{srv}, aclRules(t, "data"), aclRules(t, "patterns"), func(name string) error {
			return exerciseWith(t.Context(), urlOf(name, srv.Addr()), srv, name, rc.Options{}, (*user).patterns)
		})
	})
}

// A slot that is being moved is listed, not scanned, where it goes to.
func TestACLOfPatternsInCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	base := append(append(aclRules(t, "data"), aclRules(t, "cluster")...), aclRules(t, "patterns")...)
	eachRule(t, clusterNodes(c), base, aclRules(t, "patterns-cluster"), func(name string) error {
		return exerciseWith(t.Context(), urlOf(name, c.Addrs()...), nil, name, rc.Options{}, func(u *user) error {
			if err := u.fillPatterns(); err != nil {
				return err
			}
			defer openSlot(t, c, u.s, "p1")()
			return u.sweepPatterns()
		})
	})
}

func (u *user) patterns() error { return errors.Join(u.fillPatterns(), u.sweepPatterns()) }

func (u *user) fillPatterns() error {
	return u.s.SetMany(u.ctx, map[string]string{"p1": "1", "p2": "1", "q": "1"})
}

func (u *user) sweepPatterns() error {
	ctx, cancel := context.WithTimeout(u.ctx, 5*time.Second)
	defer cancel()
	if n, err := u.s.InvalidatePattern(ctx, "p*"); n != 2 || err != nil {
		return fmt.Errorf("InvalidatePattern = %d, %v, want 2", n, err)
	}
	return u.found(u.bare, "q", "1", rc.FromL2)
}

func TestACLOfBus(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		block := append(aclRules(t, "bus"), aclRules(t, "bus-single")...)
		eachRule(t, []aclNode{srv}, aclRules(t, "data"), block, func(name string) error {
			return exerciseWith(t.Context(), urlOf(name, srv.Addr()), srv, name, rc.Options{}, (*user).bus)
		})
	})
}

func TestACLOfBusInCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	base := append(aclRules(t, "data"), aclRules(t, "cluster")...)
	eachRule(t, clusterNodes(c), base, aclRules(t, "bus"), func(name string) error {
		return exerciseWith(t.Context(), urlOf(name, c.Addrs()...), nil, name, rc.Options{}, (*user).bus)
	})
}

// shipped is an event.
type shipped struct{ Order string }

// bus sends an event to itself.
func (u *user) bus() error {
	stop, err := rc.On(u.m, func(e shipped) []rc.Target { return []rc.Target{u.s.Target(e.Order)} })
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(u.ctx, 5*time.Second)
	defer cancel()
	end, err := u.m.Listen(ctx, nil)
	if err != nil {
		return err
	}
	defer end()
	if err := u.s.Set(ctx, "o", "1"); err != nil {
		return err
	}
	for u.m.EventStats().Applied == 0 { // until the partition is heard
		if err := rc.Announce(ctx, u.m, shipped{"o"}); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		err := soon(short, "the announced event", func() bool { return u.m.EventStats().Applied > 0 })
		cancel()
		if ctx.Err() != nil {
			return err
		}
	}
	return nil
}

// soon waits for something to come true, while ctx lasts.
func soon(ctx context.Context, what string, ok func() bool) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

var announcing = rc.Options{Coherence: rc.Broadcast}

func TestACLOfBroadcast(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		block := append(aclRules(t, "broadcast"), aclRules(t, "bus-single")...)
		eachRule(t, []aclNode{srv}, nil, block, func(name string) error {
			return exerciseWith(t.Context(), urlOf(name, srv.Addr()), srv, name, announcing, everything...)
		})
	})
}

func TestACLOfBroadcastInCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{})
	rules := append(aclRules(t, "broadcast"), aclRules(t, "cluster")...)
	eachRule(t, clusterNodes(c), rules, nil, func(name string) error {
		return exerciseWith(t.Context(), urlOf(name, c.Addrs()...), nil, name, announcing, everything...)
	})
}

func TestACLOfEvents(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		eachRule(t, []aclNode{srv}, aclRules(t, "data"), aclRules(t, "events"), func(name string) error {
			if _, err := srv.Do(t.Context(), "DEL", "orders", "orders:dead"); err != nil {
				return err
			}
			return exerciseWith(t.Context(), urlOf(name, srv.Addr()), srv, name, rc.Options{}, func(u *user) error {
				limit := time.Second
				if name == "full" {
					limit = 20 * time.Second // nobody waits for that long
				}
				ctx, cancel := context.WithTimeout(u.ctx, limit)
				defer cancel()
				u.ctx = ctx
				return u.events(srv)
			})
		})
	})
}

// events consumes a good event and a bad one, which others have tried so often
// already that it is put aside.
func (u *user) events(srv *localredis.Server) error {
	stop, err := rc.On(u.m, func(e shipped) []rc.Target {
		if e.Order == "" {
			panic("no order")
		}
		return []rc.Target{u.s.Target(e.Order)}
	})
	if err != nil {
		return err
	}
	defer stop()
	for _, o := range []string{"o", ""} {
		if _, err := rc.AppendEvent(u.ctx, u.m, "orders", shipped{o}); err != nil {
			return err
		}
	}
	st := rc.Stream{
		Name: "orders", Group: "cache", Consumer: "first",
		Block: 50 * time.Millisecond, ClaimIdle: 30 * time.Millisecond, MaxDeliveries: 1000,
	}
	// Retried after it was held, so what is held has been claimed again.
	err = u.consume(st, func(s rc.EventStats) bool { return s.Acked == 1 && s.Retried >= 1 })
	if err != nil {
		return err
	}
	if _, err := srv.Do(u.ctx, "XGROUP", "CREATECONSUMER", "orders", "cache", "other"); err != nil {
		return err
	}
	pending, err := srv.Do(u.ctx, "XPENDING", "orders", "cache", "-", "+", "1")
	if err != nil {
		return err
	}
	id := fmt.Sprint(pending.([]any)[0].([]any)[0])
	if _, err := srv.Do(u.ctx, "XCLAIM", "orders", "cache", "other", "0", id, "RETRYCOUNT", "1000"); err != nil {
		return err
	}
	if err := u.consume(st, func(s rc.EventStats) bool { return s.DeadLettered == 1 && s.Acked == 2 }); err != nil {
		return err
	}
	// Who has gone and has nothing left is no longer in the group.
	group, err := srv.Do(u.ctx, "XINFO", "CONSUMERS", "orders", "cache")
	if text := fmt.Sprint(group); err != nil || strings.Contains(text, "first") {
		return fmt.Errorf("a consumer that has ended is in the group: %s, %v", text, err)
	}
	return nil
}

// consume runs Consume until enough is counted.
func (u *user) consume(s rc.Stream, enough func(rc.EventStats) bool) error {
	ctx, cancel := context.WithCancel(u.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- u.m.Consume(ctx, s) }() // ends with ctx
	over := false
	err := soon(ctx, "events to be consumed", func() bool {
		select {
		case err := <-ended:
			over = true
			ended <- err
		default:
		}
		return over || enough(u.m.EventStats())
	})
	cancel()
	if e := <-ended; over {
		return fmt.Errorf("Consume = %w", e)
	}
	if st := u.m.EventStats(); err == nil && st.StreamErrors > 0 {
		return fmt.Errorf("failures are counted: %+v", st)
	}
	return err
}

// Without replicas INFO says so at once; with them it is not missed.
func TestACLOfReplicas(t *testing.T) {
	t.Parallel()
	onFlavors(t, func(t *testing.T, srv *localredis.Server) {
		base := append(aclRules(t, "data"), without(aclRules(t, "replicas"), "+info")...)
		eachRule(t, []aclNode{srv}, base, []string{"+info"}, func(name string) error {
			return exerciseWith(t.Context(), urlOf(name, srv.Addr()), srv, name, rc.Options{}, (*user).lonely)
		})
	})
}

func TestACLOfReplicasInCluster(t *testing.T) {
	t.Parallel()
	c := localredis.NewCluster(t, localredis.ClusterConfig{ReplicasPerPrimary: 1})
	base := append(aclRules(t, "data"), aclRules(t, "cluster")...)
	run := func(name string) error {
		return exerciseWith(t.Context(), urlOf(name, c.Addrs()...), nil, name, rc.Options{}, (*user).replicated)
	}
	eachRule(t, clusterNodes(c), base, without(aclRules(t, "replicas"), "+info"), run)
	eachRule(t, clusterNodes(c), append(base, aclRules(t, "replicas")...), nil, run)
}

// lonely waits for a replica that there is not, and is told so at once.
func (u *user) lonely() error {
	err := u.s.Set(rc.WaitReplicas(u.ctx, 1, 50*time.Millisecond), "r", "1")
	var re *rc.ReplicasError
	if !errors.As(err, &re) || !strings.Contains(err.Error(), "no replicas") {
		return fmt.Errorf("Set, waiting for a replica of a server without = %v", err)
	}
	return u.found(u.bare, "r", "1", rc.FromL2)
}

// replicated waits for replicas.
func (u *user) replicated() error {
	ctx := rc.WaitReplicas(u.ctx, 1, 20*time.Second)
	return errors.Join(u.s.Set(ctx, "r", "1"), u.m.InvalidateTag(ctx, "t"), u.s.Clear(ctx), u.s.Delete(ctx, "r"))
}
