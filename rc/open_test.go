package rc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strconv"
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
	dead := "127.0.0.1:" + freePort(t)
	for name, c := range map[string]struct {
		url  string
		opts rc.Options
		want []string // parts of the error
	}{
		"scheme":         {"http://127.0.0.1:1", rc.Options{}, []string{"URL", "scheme", "http"}},
		"bad url":        {"redis://user:hunter2@[::1", rc.Options{}, []string{"rc: URL"}},
		"empty address":  {"redis://a:1,,b:2", rc.Options{}, []string{"address is empty"}},
		"nobody there":   {"redis://" + dead, rc.Options{}, []string{dead, "is the server running"}},
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
			c.opts.OpTimeout = 10 * time.Second
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
		m, err := rc.Open(t.Context(), "redis://"+srv.Addr(), rc.Options{OpTimeout: 10 * time.Second, Password: "secret", ClientName: "mine"})
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

func TestOpenUnixSocket(t *testing.T) {
	t.Parallel()
	sock := t.TempDir() + "/redis.sock"
	localredis.Standalone(t, localredis.Redis, "--unixsocket", sock)
	m, err := rc.Open(t.Context(), "unix://"+sock, rc.Options{OpTimeout: 10 * time.Second, MaxStaleness: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := rc.New(m, "ns", rc.Config[string]{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), "id", "v"); err != nil {
		t.Fatal(err)
	}
	if it, err := s.Lookup(t.Context(), "id"); err != nil || it.Value != "v" || it.Source != rc.FromL1 {
		t.Errorf("Lookup = %+v, %v, want v from L1", it, err)
	}
	if h := m.Health(); len(h) != 1 || !h[0].Reachable {
		t.Errorf("Health = %+v", h)
	}
}

// A TLS server with a certificate of its own.
func TestOpenTLS(t *testing.T) {
	t.Parallel()
	dir, pool := selfSigned(t)
	port := freePort(t)
	localredis.Standalone(t, localredis.Redis, "--tls-port", port, "--tls-cert-file", dir+"/cert.pem",
		"--tls-key-file", dir+"/key.pem", "--tls-ca-cert-file", dir+"/cert.pem", "--tls-auth-clients", "no")
	url := "rediss://localhost:" + port
	opts := rc.Options{OpTimeout: 10 * time.Second, DialTimeout: 20 * time.Second} // a handshake takes long on a busy machine
	if m, err := rc.Open(t.Context(), url, opts); err == nil {
		m.Close()
		t.Error("Open trusts a certificate nobody vouches for")
	} else if !strings.Contains(err.Error(), "Options.TLS") {
		t.Errorf("error %q does not say what to do", err)
	}
	opts.TLS = &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	m, err := rc.Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	port, err := localredis.ReservePort(t)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// selfSigned writes cert.pem and key.pem for localhost.
func selfSigned(t *testing.T) (dir string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	dir = t.TempDir()
	for name, b := range map[string][]byte{
		"cert.pem": cert,
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(dir+"/"+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return dir, pool
}
