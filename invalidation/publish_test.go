package invalidation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/localredis"
)

func TestPublishReceipts(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	a, b := open(t, option(srv.Addr()), quick(t)), open(t, option(srv.Addr()), quick(t))
	in := subscribe(b)
	var events []Event
	partitions := map[int]int{}
	for i := range 50 {
		e := key(fmt.Sprint("k", i))
		events = append(events, e)
		partitions[a.Partition(e.Namespace, e.Name)]++
	}
	for round := range 2 {
		receipts := publish(t, a, events...)
		if len(receipts) != len(partitions) {
			t.Errorf("%d receipts for %d partitions", len(receipts), len(partitions))
		}
		for i, r := range receipts {
			if r.Seq != uint64(round+1) || r.Receivers != 2 || partitions[r.Partition] == 0 {
				t.Errorf("receipt %+v in round %d, want 2 receivers", r, round)
			}
			if i > 0 && receipts[i-1].Partition >= r.Partition {
				t.Errorf("receipts are not in the order of the partitions: %+v", receipts)
			}
		}
	}
	in.handled(t, b)
	if n := len(in.names(Key)); n != 100 {
		t.Errorf("%d events delivered, want 100", n)
	}
	if s := b.Stats(); s.Messages != uint64(2*len(partitions)) {
		t.Errorf("%d messages for 100 events of %d partitions in 2 calls", s.Messages, len(partitions))
	}
	if s := a.Stats(); s.Published != 100 || s.PublishFailed != 0 {
		t.Errorf("Stats = %+v", s)
	}
	if r, err := a.Publish(t.Context()); r != nil || err != nil {
		t.Errorf("Publish of nothing = %v, %v", r, err)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	b := open(t, option(srv.Addr()), quick(t))
	big := strings.Repeat("x", MaxName+1)
	many := make([]Event, 9)
	for i := range many {
		many[i] = Event{Kind: User, Name: "n", Payload: make([]byte, MaxPayload)}
	}
	for _, c := range []struct {
		name   string
		events []Event
		want   error
		text   string
	}{
		{"no kind", []Event{{Name: "n"}}, ErrBadEvent, "Kind(0)"},
		{"gap", []Event{{Kind: Gap, Name: "n"}}, ErrBadEvent, "gap"},
		{"no name", []Event{key("fine"), {Kind: Tag, Namespace: "ns"}}, ErrBadEvent, "event 1: kind tag without a name"},
		{"no namespace", []Event{{Kind: Namespace, Name: "n"}}, ErrBadEvent, "without a namespace"},
		{"long name", []Event{key(big)}, ErrTooLarge, "name of 65537 bytes, limit 65536"},
		{"long namespace", []Event{{Kind: Key, Namespace: big, Name: "n"}}, ErrTooLarge, "namespace of 65537"},
		{"long payload", []Event{{Kind: User, Name: "n", Payload: make([]byte, MaxPayload+1)}}, ErrTooLarge, "payload of 1048577"},
		{"much", many, ErrTooLarge, "publish fewer at a time"},
	} {
		r, err := b.Publish(t.Context(), c.events...)
		if r != nil || !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: Publish = %v, %v, want %v with %q", c.name, r, err, c.want, c.text)
		}
	}
	if n := b.Stats().Messages; n != 0 {
		t.Errorf("%d messages of refused events", n)
	}
	in := subscribe(b)
	for i := range 7 {
		many[i].Name = "n" // all of one partition: 7 MiB
	}
	publish(t, b, many[:7]...)
	publish(t, b, key(big[1:]))
	in.waitName(t, big[1:])
	until(t, "the large message", func() bool { return len(in.names(User)) == 7 })
}

// The same message again, because its reply was lost, keeps its place in the
// chain, and is delivered once.
func TestPublishAgain(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		srv := localredis.Standalone(t, f)
		b := open(t, option(srv.Addr()), quick(t))
		in := subscribe(b)
		first, err := b.messages([]Event{key("k")})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			r, err := b.receipts(t.Context(), first, b.send(t.Context(), first))
			if err != nil || len(r) != 1 || r[0].Seq != 1 {
				t.Errorf("attempt %d: %v, %v, want sequence number 1", i, r, err)
			}
		}
		in.handled(t, b)
		if got := in.names(Key); len(got) != 1 || b.Stats().Duplicates != 2 {
			t.Errorf("delivered %v, %d duplicates, want it once and 2", got, b.Stats().Duplicates)
		}
		// After another message it is a message like any other.
		publish(t, b, key("k"))
		if r, err := b.receipts(t.Context(), first, b.send(t.Context(), first)); err != nil || r[0].Seq != 3 {
			t.Errorf("after another message: %v, %v, want sequence number 3", r, err)
		}
		in.handled(t, b)
		if got := in.names(Key); len(got) != 3 || in.gaps(b.Partition("ns", "k")) != 0 {
			t.Errorf("delivered %v and %d gaps, want 3 events and none", got, in.gaps(b.Partition("ns", "k")))
		}
	})
}

func TestPublishErrors(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	cfg := quick(t)
	b := open(t, option(srv.Addr()), cfg)
	publish(t, b, key("k"))

	do(t, srv, "CONFIG", "SET", "maxmemory", "1")
	_, err := b.Publish(t.Context(), key("k"))
	var pe *PublishError
	if !errors.As(err, &pe) || pe.Unsure || pe.Partition != b.Partition("ns", "k") || !strings.Contains(err.Error(), ": not published: OOM") {
		t.Errorf("Publish to a full server = %v", err)
	}
	do(t, srv, "CONFIG", "SET", "maxmemory", "0")

	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	_, err = b.Publish(t.Context(), key("k"))
	if !errors.As(err, &pe) || !pe.Unsure || !strings.Contains(err.Error(), "not surely published: no answer within 2s") {
		t.Errorf("Publish to a frozen server = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = b.Publish(ctx, key("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish with a context that has ended = %v", err)
	}
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	waitHeard(t, b)
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if _, err = b.Publish(t.Context(), key("k")); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close = %v", err)
	}
}

// A lost connection costs nobody anything: the message is sent again.
func TestPublishSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis)
	b := open(t, option(srv.Addr()), quick(t))
	for i := range 20 {
		do(t, srv, "CLIENT", "KILL", "TYPE", "normal")
		if _, err := b.Publish(t.Context(), key(fmt.Sprint("k", i))); err != nil {
			t.Errorf("Publish = %v", err)
		}
	}
}

// What the package comment lists is enough, and what is missing is named.
func TestACL(t *testing.T) {
	t.Parallel()
	flavors(t, func(t *testing.T, f localredis.Flavor) {
		srv := localredis.Standalone(t, f)
		rules := append([]string{"ACL", "SETUSER", "bus", "on", ">secret"}, strings.Fields(aclRules("cache"))...)
		do(t, srv, rules...)
		opt := option(srv.Addr())
		opt.Username, opt.Password = "bus", "secret"
		b := open(t, opt, quick(t))
		in := subscribe(b)
		publish(t, b, key("k"))
		in.waitName(t, "k")

		for _, missing := range []string{"-ssubscribe", "-get", "-role", "-spublish"} {
			do(t, srv, "ACL", "SETUSER", "bus", missing)
			if _, err := Open(t.Context(), opt, quick(t)); err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("Open with %s = %v, want NOPERM", missing, err)
			}
			do(t, srv, "ACL", "SETUSER", "bus", "+"+missing[1:])
		}
		do(t, srv, "ACL", "SETUSER", "bus", "-evalsha")
		_, err := b.Publish(t.Context(), key("k"))
		var pe *PublishError
		if !errors.As(err, &pe) || pe.Unsure || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("Publish without EVALSHA = %v", err)
		}
		cfg := quick(t)
		cfg.Prefix = "other"
		if _, err := Open(t.Context(), opt, cfg); err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("Open with another prefix = %v, want NOPERM", err)
		}
	})
}

// aclRules are those of the package comment.
func aclRules(prefix string) string {
	return "~" + prefix + ":bus:* &" + prefix + ":bus:* -@all +evalsha +eval +get +set +publish +spublish +subscribe +ssubscribe " +
		"+hello +client +ping +role +cluster|slots +cluster|shards"
}
