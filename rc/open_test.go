package rc_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

func TestOpenSaysWhatToDo(t *testing.T) {
	t.Parallel()
	srv := localredis.Standalone(t, localredis.Redis, "--requirepass", "secret")
	acl := localredis.Standalone(t, localredis.Redis)
	// Everything but what tracking needs.
	if _, err := acl.Do(t.Context(), "ACL", "SETUSER", "weak", "on", ">pw", "~cache:*", "+@all", "-client|tracking"); err != nil {
		t.Fatal(err)
	}
	if _, err := acl.Do(t.Context(), "ACL", "SETUSER", "noecho", "on", ">pw", "~cache:*", "+@all", "-echo"); err != nil {
		t.Fatal(err)
	}
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	for name, c := range map[string]struct {
		url  string
		opts rc.Options
		want []string // parts of the error
	}{
		"scheme":         {"http://127.0.0.1:1", rc.Options{}, []string{"URL", "scheme", "http"}},
		"bad url":        {"redis://user:hunter2@[::1", rc.Options{}, []string{"rc: URL"}},
		"empty address":  {"redis://a:1,,b:2", rc.Options{}, []string{"address is empty"}},
		"nobody there":   {"redis://" + dead.Addr().String(), rc.Options{}, []string{dead.Addr().String(), "is the server running"}},
		"no password":    {"redis://" + srv.Addr(), rc.Options{}, []string{"NOAUTH", "password"}},
		"wrong password": {"redis://:wrong@" + srv.Addr(), rc.Options{}, []string{"WRONGPASS", "Options.Username"}},
		"no tracking":    {"redis://weak:pw@" + acl.Addr(), rc.Options{}, []string{"NOPERM", "client|tracking"}},
		"no echo":        {"redis://noecho:pw@" + acl.Addr(), rc.Options{}, []string{"NOPERM", "echo"}},
		"tls to plain":   {"rediss://" + acl.Addr(), rc.Options{TLS: &tls.Config{InsecureSkipVerify: true}}, []string{"rc: open", acl.Addr()}},
		"not a cluster":  {"redis://" + acl.Addr() + "," + acl.Addr(), rc.Options{}, []string{"members of one cluster"}},
		"heartbeat":      {"redis://" + acl.Addr(), rc.Options{Heartbeat: time.Second}, []string{"Options.Heartbeat", "1s"}},
		"staleness":      {"redis://" + acl.Addr(), rc.Options{MaxStaleness: time.Microsecond}, []string{"Options.MaxStaleness"}},
		"watch":          {"redis://" + acl.Addr(), rc.Options{WatchInterval: 5 * time.Second}, []string{"Options.WatchInterval"}},
		"queue":          {"redis://" + acl.Addr(), rc.Options{RecoveryQueue: -1}, []string{"Options.RecoveryQueue", "-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := rc.Open(t.Context(), c.url, c.opts)
			if err == nil {
				m.Close()
				t.Fatal("Open gave no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %q has the password", err)
			}
		})
	}
	t.Run("right password", func(t *testing.T) {
		m, err := rc.Open(t.Context(), "redis://"+srv.Addr(), rc.Options{Password: "secret", ClientName: "mine"})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		name, err := m.Client().Do(t.Context(), m.Client().B().ClientGetname().Build()).ToString()
		if name != "mine" || err != nil {
			t.Errorf("CLIENT GETNAME = %q, %v", name, err)
		}
	})
}

func TestOpenClientRefusesWhatTheNearCacheCannotWorkWith(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*rueidis.ClientOption){
		"DisableCache":          func(o *rueidis.ClientOption) { o.DisableCache = true },
		"ClientTrackingOptions": func(o *rueidis.ClientOption) { o.ClientTrackingOptions = []string{"NOLOOP"} },
		"PipelineMultiplex":     func(o *rueidis.ClientOption) { o.PipelineMultiplex = 2 },
		"DisableAutoPipelining": func(o *rueidis.ClientOption) { o.DisableAutoPipelining = true },
		"AlwaysRESP2":           func(o *rueidis.ClientOption) { o.AlwaysRESP2 = true },
		"SendToReplicas":        func(o *rueidis.ClientOption) { o.SendToReplicas = func(rueidis.Completed) bool { return true } },
		"ReplicaOnly":           func(o *rueidis.ClientOption) { o.ReplicaOnly = true },
		"InitAddress":           func(o *rueidis.ClientOption) { o.InitAddress = nil },
	} {
		opt := rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}}
		change(&opt)
		if _, err := rc.OpenClient(t.Context(), opt, rc.Options{}); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("OpenClient with %s = %v, want an error that names it", field, err)
		}
	}
}

func TestOpenHeedsItsContext(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := rc.Open(ctx, "redis://"+l.Addr().String(), rc.Options{DialTimeout: time.Minute}); err == nil {
		t.Error("Open of a mute server gave no error")
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("Open took %v with a context of 50ms", d)
	}
}

func TestConfigErrorsNameFieldValueAndBound(t *testing.T) {
	t.Parallel()
	m, _ := rctest.New(t)
	for want, cfg := range map[string]rc.Config[string]{
		"Config.TTL is -1s, must be 1ms":               {TTL: -time.Second},
		"Config.StaleFor is -1s":                       {StaleFor: -time.Second},
		"Config.MaxStale is 2s, must be 0s to 1s":      {StaleFor: time.Second, MaxStale: 2 * time.Second},
		"Config.Jitter is 0.6, must be at most 0.5":    {Jitter: 0.6},
		"Config.EarlyFraction is 1":                    {EarlyFraction: 1},
		"Config.LoadTimeout is -1ns":                   {LoadTimeout: -1},
		"Config.LockWait is -1ns":                      {LockWait: -1},
		"Config.LeaseTTL is 1ms, must be 30ms to 1h":   {LeaseTTL: time.Millisecond},
		"Config.FallbackLoads is -1":                   {FallbackLoads: -1},
		"Config.MaxValueBytes is -1":                   {MaxValueBytes: -1},
		"Config.ErrorBackoff is 2h0m0s, must be 0s to": {ErrorBackoff: 2 * time.Hour},
	} {
		if _, err := rc.New(m, "ns", cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want an error with %q", err, want)
		}
	}
	for _, ns := range []string{"", "a b", "a{b", "a:b", strings.Repeat("n", 200)} {
		if _, err := rc.New(m, ns, rc.Config[string]{}); err == nil {
			t.Errorf("New with namespace %q gave no error", ns)
		}
	}
	if _, err := rc.New(m, "ns", rc.Config[string]{Prefix: "p{"}); err == nil {
		t.Error("New with a brace in Prefix gave no error")
	}
}
