package fakeredis

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpiryFollowsVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		rc := dialRaw(t, s)
		rc.do("CLIENT", "TRACKING", "ON")
		rc.do("SET", "k", "v", "PX", "60000")
		rc.do("GET", "k")
		time.Sleep(20 * time.Second)
		if got := rc.do("PTTL", "k"); got != ":40000" {
			t.Errorf("PTTL = %s after 20s of 60, want exactly 40000", got)
		}
		start := time.Now()
		rc.c.SetReadDeadline(start.Add(time.Hour))
		got, err := readText(rc.r)
		if got != `>["invalidate" *["k"]]` || err != nil || time.Since(start) != 40*time.Second {
			t.Errorf("got %s, %v after %v, want the push after 40s", got, err, time.Since(start))
		}
		if got := rc.do("GET", "k"); got != "_" {
			t.Errorf("GET = %s", got)
		}
	})
}

func TestExpiryFollowsRealTime(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	rc := dialRaw(t, s)
	rc.do("CLIENT", "TRACKING", "ON", "BCAST")
	start := time.Now()
	rc.do("EVAL", "redis.call('SET', KEYS[1], 'v', 'PX', 60)", "1", "k")
	rc.read() // the push of the SET
	if got := rc.read(); got != `>["invalidate" *["k"]]` {
		t.Fatalf("got %s, want the push of the expiry", got)
	}
	if d := time.Since(start); d < 59*time.Millisecond {
		t.Errorf("k expired after %v, want 60ms", d)
	}
	if got := rc.do("EXISTS", "k"); got != ":0" {
		t.Errorf("EXISTS = %s", got)
	}
}

func TestFastForward(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	rc := dialRaw(t, s)
	rc.do("CLIENT", "TRACKING", "ON")
	for _, k := range []string{"a", "b", "forever"} {
		do(t, s, "SET", k, "v")
		rc.do("GET", k)
	}
	do(t, s, "PEXPIRE", "a", "100000")
	do(t, s, "EXPIRE", "b", "300")
	if got := rc.sync(); len(got) != 2 {
		t.Errorf("pushes of EXPIRE: %v", got)
	}
	rc.do("GET", "a")
	rc.do("GET", "b")
	now := do(t, s, "TIME").([]any)[0].(string)
	s.FastForward(200 * time.Second)
	s.FastForward(-time.Hour)
	if got := rc.sync(); strings.Join(got, " ") != `>["invalidate" *["a"]]` {
		t.Errorf("pushes = %v, want a", got)
	}
	if got := do(t, s, "MGET", "a", "b", "forever"); fmt.Sprint(got) != "[<nil> v v]" {
		t.Errorf("MGET = %v", got)
	}
	if got := do(t, s, "TTL", "b").(int64); got < 90 || got > 100 {
		t.Errorf("TTL b = %d, want just below 100", got)
	}
	later := do(t, s, "TIME").([]any)[0].(string)
	if later <= now {
		t.Errorf("TIME %s is not later than %s", later, now)
	}
	do(t, s, "SET", "c", "v", "PX", "5000")
	if got := do(t, s, "PTTL", "c").(int64); got <= 0 || got > 5000 {
		t.Errorf("PTTL of a key set later = %d", got)
	}
}

func TestLifetimesMoveWithTheirKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		do(t, s, "SET", "a", "v", "PX", "10000")
		time.Sleep(4 * time.Second)
		do(t, s, "RENAME", "a", "b")
		do(t, s, "COPY", "b", "c")
		do(t, s, "SET", "b", "w", "KEEPTTL")
		do(t, s, "EVAL", "redis.call('SET', KEYS[1], 'x', 'KEEPTTL')", "1", "c")
		do(t, s, "EXPIRE", "c", "5", "GT") // 5 < 6: refused
		for _, k := range []string{"b", "c"} {
			if got := do(t, s, "PTTL", k); got != int64(6000) {
				t.Errorf("PTTL %s = %v, want 6000", k, got)
			}
		}
		do(t, s, "PERSIST", "c")
		time.Sleep(6 * time.Second)
		if got := do(t, s, "EXISTS", "a", "b", "c"); got != int64(1) {
			t.Errorf("EXISTS = %v, want only c", got)
		}
	})
}

func TestExpiryQueueStaysSmall(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for i := range 5000 {
		do(t, s, "SET", "k", "v", "PX", fmt.Sprint(10000000-i))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.expiry.queue); n > 100 {
		t.Errorf("%d entries for one key", n)
	}
	if len(s.expiry.at) != 1 {
		t.Errorf("%d deadlines, want 1", len(s.expiry.at))
	}
}

// BenchmarkPTTL shows that a command costs the same whatever the number of keys.
func BenchmarkPTTL(b *testing.B) {
	for _, n := range []int{10, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newServer(b)
			for i := range n {
				do(b, s, "SET", fmt.Sprint("k", i), "v", "PX", "1000000")
			}
			for b.Loop() {
				do(b, s, "PTTL", "k5")
			}
		})
	}
}
