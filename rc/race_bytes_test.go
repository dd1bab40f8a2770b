package rc_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/rc"
)

// badBytes are things that may be found under a key of ours. Each gets a valid
// envelope of the key to spoil, and one of another key.
var badBytes = []struct {
	name string
	make func(valid, other string) []string // the command, without the key
	want func(s rc.Stats) uint64            // the counter that must count it
}{
	{"Empty", setTo(func(string) string { return "" }), nil},
	{"Foreign", setTo(func(string) string { return "hello, this is JSON's home" }), corrupt},
	{"Short", setTo(func(string) string { return "F" }), corrupt},
	{"MagicOnly", setTo(func(string) string { return "FC\x01" }), corrupt},
	{"Truncated", setTo(func(v string) string { return v[:len(v)-1] }), corrupt},
	{"TruncatedHeader", setTo(func(v string) string { return v[:40] }), corrupt},
	{"Longer", setTo(func(v string) string { return v + "x" }), corrupt},
	{"Noise", setTo(func(v string) string { return v[:3] + strings.Repeat("\xff", 80) }), newer},
	{"OfAnotherKey", func(_, other string) []string { return []string{"SET", other} }, corrupt},
	{"Newer", setTo(func(v string) string { return v[:2] + "\x02" + v[3:] }), newer},
	{"UnknownFlag", setTo(func(v string) string { return v[:3] + "\x80" + v[4:] }), newer},
	{"AnotherCodec", setTo(func(v string) string { return v[:4] + "\x30" + v[5:] }), codecs},
	{"BadPayload", setTo(func(v string) string { return v[:len(v)-1] + "{" }), codecs},
	{"List", func(string, string) []string { return []string{"LPUSH", "x"} }, corrupt},
	{"Hash", func(string, string) []string { return []string{"HSET", "f", "x"} }, corrupt},
}

func setTo(f func(valid string) string) func(valid, other string) []string {
	return func(valid, _ string) []string { return []string{"SET", f(valid)} }
}

func corrupt(s rc.Stats) uint64 { return s.Corrupt }
func newer(s rc.Stats) uint64   { return s.Newer }
func codecs(s rc.Stats) uint64  { return s.Codec }

// Whatever is found under a key of ours is a miss: it is counted, the loader's
// value is returned and stored in its place, with a bounded number of
// commands. It makes no difference whether it ends by itself.
func TestRaceBadBytes(t *testing.T) {
	t.Parallel()
	for _, c := range badBytes {
		for _, ttl := range []bool{false, true} {
			t.Run(c.name+map[bool]string{true: "WithTTL"}[ttl], func(t *testing.T) {
				t.Parallel()
				badUnder(t, c.make, c.want, ttl, rc.Config[string]{})
			})
		}
	}
}

func badUnder(t *testing.T, bytes func(valid, other string) []string, want func(rc.Stats) uint64, ttl bool, cfg rc.Config[string]) {
	t.Helper()
	srv := start(t)
	m, a := instance(t, srv, calm(), cfg)
	_, b := instance(t, srv, calm(), cfg)
	set(t, a, "k", "old")
	set(t, a, "other", "theirs")
	warm(t, a)
	k := key(t, a, "k")
	cmd := bytes(do(t, srv, "GET", k).(string), do(t, srv, "GET", key(t, a, "other")).(string))
	pushes := m.Stats().Pushes
	do(t, srv, "DEL", k)
	do(t, srv, append([]string{cmd[0], k}, cmd[1:]...)...)
	if ttl {
		do(t, srv, "PEXPIRE", k, "3600000")
	}
	until(t, "the push", func() bool { return m.Stats().Pushes > pushes })
	if v, found, err := b.Get(t.Context(), "k"); found || err != nil {
		t.Errorf("Get = %q, %v, %v, want a miss", v, found, err)
	}
	srv.ResetCommands()
	fill(t, a, "k", "new")
	sum := int64(0)
	for name, n := range srv.Commands() {
		if name != "ROLE" && name != "ECHO" {
			sum += n
		}
	}
	if sum > 20 {
		t.Errorf("%d commands for one load: %v", sum, srv.Commands())
	}
	if st := m.Stats(); want != nil && want(st) != 1 {
		t.Errorf("counted %d, want 1: %+v", want(st), st)
	}
	cached(t, a, "k", "new")
	cached(t, b, "k", "new")
}

// The same for each write, which must not be stopped by what is there.
func TestRaceBadBytesAreReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range badBytes {
		for _, v := range verbs {
			t.Run(c.name+v.name, func(t *testing.T) {
				t.Parallel()
				srv := start(t)
				_, a := instance(t, srv, calm(), rc.Config[string]{})
				set(t, a, "k", "old")
				set(t, a, "other", "theirs")
				k := key(t, a, "k")
				cmd := c.make(do(t, srv, "GET", k).(string), do(t, srv, "GET", key(t, a, "other")).(string))
				do(t, srv, "DEL", k)
				do(t, srv, append([]string{cmd[0], k}, cmd[1:]...)...)
				if err := v.do(t.Context(), a, "k"); err != nil {
					t.Errorf("%s over it = %v", v.name, err)
				}
				cached(t, a, "k", v.after)
				if v.after == "" {
					fill(t, a, "k", "new")
				}
				cached(t, a, "k", "new")
			})
		}
	}
}

// Something that is no claim under the key of the claim.
func TestRaceBadLease(t *testing.T) {
	t.Parallel()
	for _, cmd := range [][]string{{"LPUSH", "x"}, {"HSET", "f", "x"}} {
		t.Run(cmd[0], func(t *testing.T) {
			t.Parallel()
			srv := start(t)
			_, a := instance(t, srv, calm(), rc.Config[string]{LockWait: time.Hour})
			do(t, srv, append([]string{cmd[0], leaseKey(t, a, "k")}, cmd[1:]...)...)
			var n atomic.Int32
			f := async(func() (string, error) { return a.GetOrSet(t.Context(), "k", gives("v", &n)) })
			f.want(t, "v")
			cached(t, a, "k", "v")
		})
	}
}

// Values that Config.Validate refuses are misses.
func TestRaceInvalidValue(t *testing.T) {
	t.Parallel()
	srv := start(t)
	_, b := instance(t, srv, calm(), rc.Config[string]{})
	set(t, b, "k", "bad")
	m, a := instance(t, srv, calm(), rc.Config[string]{Validate: func(v string) error {
		if v == "bad" {
			return errBoom
		}
		return nil
	}})
	cached(t, a, "k", "")
	fill(t, a, "k", "good")
	cached(t, b, "k", "good")
	if n := m.Stats().Invalid; n != 2 {
		t.Errorf("Invalid = %d, want 2", n)
	}
}
