package redisnode_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fleetcache/fleetcache/internal/localredis"
	"github.com/fleetcache/fleetcache/internal/redisnode"
)

const secret = `s3cret "with" \ blanks`

func TestClusterWithPasswordAndTLS(t *testing.T) {
	t.Parallel()
	files, config := certificates(t)
	for _, tt := range []struct {
		name   string
		flavor localredis.Flavor
		access redisnode.Access
	}{
		{"redis, default user, TLS", localredis.Redis, redisnode.Access{Password: secret, TLS: config}},
		{"redis, user", localredis.Redis, redisnode.Access{Username: "ops", Password: secret}},
		{"valkey, default user", localredis.Valkey, redisnode.Access{Password: secret}},
		{"valkey, user, TLS", localredis.Valkey, redisnode.Access{Username: "ops", Password: secret, TLS: config}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := redisnode.ClusterConfig{ReplicasPerPrimary: 1, Access: tt.access, Files: files}
			if tt.access.Username != "" {
				cfg.Lines = []string{"user default off"}
			}
			c := newCluster(t, newMaker(t, tt.flavor), cfg)
			testAccess(t, c, tt.access)
		})
	}
}

// testAccess does whatever makes nodes talk to each other.
func testAccess(t *testing.T, c *redisnode.Cluster, access redisnode.Access) {
	ctx := within(t)
	slot, owner, other := ownerAndOther(t, c, "k")
	setAtReplica(t, owner, "k", "v")
	must(t, "MoveSlot", c.MoveSlot(ctx, slot, other))
	wantReply(t, other, "v", "GET", "k")
	must(t, "MoveSlot back", c.MoveSlot(ctx, slot, owner))
	must(t, "WaitHealthy", c.WaitHealthy(ctx))

	_, replica := shardOf(t, c, slot)
	must(t, "CutReplication", c.CutReplication(ctx, replica))
	must(t, "Restart", replica.Restart())
	must(t, "RestoreReplication", c.RestoreReplication(ctx, replica))
	wantConfig(t, replica, "masteruser", access.Username)
	wantConfig(t, replica, "masterauth", access.Password)
	setAtReplica(t, owner, "k", "w")
	must(t, "WaitHealthy", c.WaitHealthy(ctx))
	must(t, "Failover", c.Failover(ctx, replica, ""))
	wantReply(t, replica, "w", "GET", "k")
	must(t, "CutReplication", c.CutReplication(ctx, owner)) // the replica now
	if access.TLS != nil {
		if err := c.Isolate(ctx, owner); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Isolate = %v, want ErrUnsupported", err)
		}
	}
	must(t, "Reset", c.Reset(ctx))
	setAtReplica(t, owner, "k", "x")

	if access.TLS == nil {
		wantNoEntry(t, owner.Addr())
	}
}

// wantNoEntry asks without credentials.
func wantNoEntry(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	must(t, "dial", err)
	defer conn.Close()
	must(t, "deadline", conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = conn.Write([]byte("GET k\r\n"))
	must(t, "write", err)
	reply, err := bufio.NewReader(conn).ReadString('\n')
	must(t, "read", err)
	if !strings.HasPrefix(reply, "-NOAUTH") {
		t.Errorf("GET without credentials = %q, want NOAUTH", reply)
	}
}

func TestSentinelWithPasswordAndTLS(t *testing.T) {
	t.Parallel()
	files, config := certificates(t)
	for _, tt := range []struct {
		name   string
		flavor localredis.Flavor
		access redisnode.Access
	}{
		{"redis, default user, TLS", localredis.Redis, redisnode.Access{Password: "s3cret", TLS: config}},
		{"valkey, user", localredis.Valkey, redisnode.Access{Username: "ops", Password: "s3cret"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newSentinel(t, newMaker(t, tt.flavor), redisnode.SentinelConfig{
				Access: tt.access, Files: files,
				// A busy machine must not make them fail over once more.
				DownAfter: 2 * time.Second,
			})
			ctx := within(t)
			master, err := d.Master(ctx)
			must(t, "Master", err)
			setAtReplica(t, master, "k", "v")
			must(t, "Kill", master.Kill())
			promoted, err := d.WaitMaster(ctx, master)
			must(t, "WaitMaster", err)
			wantReply(t, promoted, "v", "GET", "k")
			must(t, "Reset", d.Reset(ctx))
			wantReply(t, master, int64(0), "DBSIZE")
			setAtReplica(t, promoted, "k", "w")
		})
	}
}

// certificates returns the files of servers at 127.0.0.1 and how to trust them.
func certificates(t *testing.T) (map[string][]byte, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "GenerateKey", err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redisnode test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, "CreateCertificate", err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, "MarshalPKCS8PrivateKey", err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return map[string][]byte{
		redisnode.CertFile: certPEM,
		redisnode.CAFile:   certPEM,
		redisnode.KeyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, &tls.Config{RootCAs: roots}
}
