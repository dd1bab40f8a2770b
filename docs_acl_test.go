package fleetcache_test

import (
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

// aclRules returns the rules that docs/operations.md gives in its block of the
// name: what is tested is what is documented.
func aclRules(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile("docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- acl: " + name + " -->\n+```\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("docs/operations.md has no block of ACL rules named %q", name)
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

// exercise uses every method of a service and says what did not work. The
// server, if it is given, forgets its scripts first: sending them is among
// what must be allowed. The namespace "other" has the prefix "other", too.
func exercise(ctx context.Context, url string, srv *localredis.Server, ns string) error {
	if srv != nil {
		if _, err := srv.Do(ctx, "SCRIPT", "FLUSH"); err != nil {
			return err
		}
	}
	prefix := "" // the default
	if ns == "other" {
		prefix = ns
	}
	m, err := rc.Open(ctx, url, rc.Options{Prefix: prefix})
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := rc.New(m, ns, rc.Config[string]{LeaseTTL: 150 * time.Millisecond, StaleFor: time.Minute})
	if err != nil {
		return err
	}
	bare, err := rc.New(m, ns, rc.Config[string]{L1Size: rc.Off, StaleFor: time.Minute})
	if err != nil {
		return err
	}
	u := &user{ctx: ctx, m: m, s: s, bare: bare}
	for _, step := range []func(*user) error{
		(*user).manager, (*user).writes, (*user).loads, (*user).slowLoad, (*user).expires, (*user).batches,
	} {
		if err := step(u); err != nil {
			return err
		}
	}
	if st := m.Stats(); st.FillsFailed+st.InvalidationErrors+st.DegradedLoads > 0 {
		return fmt.Errorf("failures are counted: %+v", st)
	}
	return nil
}

// user is a service at work; bare is the same without a memory tier.
type user struct {
	ctx     context.Context
	m       *rc.Manager
	s, bare *rc.CacheService[string]
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
