package docker

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/internal/redisnode"
)

func contains(err error, want string) bool { return strings.Contains(err.Error(), want) }

func TestLastLines(t *testing.T) {
	t.Parallel()
	const text = "one\ntwo\nthree\n"
	for _, tt := range []struct {
		n    int
		want string
	}{
		{100, text}, {len(text), text}, {len(text) - 1, "two\nthree\n"}, {10, "two\nthree\n"},
		{9, "three\n"}, {6, "three\n"}, {5, ""}, {0, ""},
	} {
		if got := lastLines(text, tt.n); got != tt.want {
			t.Errorf("lastLines(%q, %d) = %q, want %q", text, tt.n, got, tt.want)
		}
	}
}

func TestHubName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ prefix, name, want string }{
		{"", "redis:8", "redis:8"},
		{"mirror.test/hub", "redis:8", "mirror.test/hub/redis:8"},
		{"mirror.test/hub", "valkey/valkey:8.0", "mirror.test/hub/valkey/valkey:8.0"},
		{"mirror.test/hub", "ghcr.io/a/redis:8", "ghcr.io/a/redis:8"},
		{"mirror.test/hub", "localhost/redis:8", "localhost/redis:8"},
		{"mirror.test/hub", "registry:5000/redis", "registry:5000/redis"},
	} {
		if got := hubName(tt.prefix, tt.name); got != tt.want {
			t.Errorf("hubName(%q, %q) = %q, want %q", tt.prefix, tt.name, got, tt.want)
		}
	}
}

func TestServerIn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		command []string
		want    string
	}{
		{"redis:8", []string{"docker-entrypoint.sh", "redis-server"}, "redis-server"},
		{"cache:1", []string{"/opt/bin/valkey-server", "--port", "1"}, "/opt/bin/valkey-server"},
		{"valkey/valkey:9", []string{"/start.sh"}, "valkey-server"},
		{"cache:1", nil, "redis-server"},
	} {
		if got := serverIn(tt.name, tt.command); got != tt.want {
			t.Errorf("serverIn(%q, %v) = %q, want %q", tt.name, tt.command, got, tt.want)
		}
	}
}

func TestAddressPool(t *testing.T) {
	t.Parallel()
	pool := newAddressPool(netip.MustParsePrefix("10.200.3.0/24"))
	seen := make(map[netip.Addr]bool)
	for range 253 {
		ip, err := pool.take()
		if err != nil {
			t.Fatal(err)
		}
		if last := ip.As4()[3]; seen[ip] || last < 2 || last > 254 {
			t.Fatalf("take() = %s, which is taken or reserved", ip)
		}
		seen[ip] = true
	}
	if ip, err := pool.take(); err == nil {
		t.Fatalf("take() = %s when all addresses are in use", ip)
	}
	free := netip.MustParseAddr("10.200.3.77")
	pool.giveBack(free)
	if ip, err := pool.take(); ip != free {
		t.Errorf("take() = %s, %v, want %s, which was given back", ip, err, free)
	}
	pool.giveBack(free)
	pool.giveBack(free.Next())
	if ip, err := pool.take(); ip != free.Next() {
		t.Errorf("take() = %s, %v, want not the one given back last", ip, err)
	}
}

func TestFreeSubnet(t *testing.T) {
	t.Parallel()
	half := netip.MustParsePrefix("10.192.0.0/11")
	for range 100 {
		got, err := freeSubnet([]netip.Prefix{half, {}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Bits() != 24 || got != got.Masked() || got.Overlaps(half) || !netip.MustParsePrefix("10.192.0.0/10").Contains(got.Addr()) {
			t.Fatalf("freeSubnet = %s", got)
		}
	}
	if got, err := freeSubnet([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Errorf("freeSubnet = %s when there is none", got)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	at := redisnode.Address{IP: "10.1.2.3", Port: 6379}
	for _, tt := range []struct {
		name       string
		spec       redisnode.MachineSpec
		want, none string
	}{
		{"plain", redisnode.MachineSpec{}, "\nreplica-announce-ip 10.1.2.3\n", "cluster-enabled"},
		{"cluster", redisnode.MachineSpec{Role: redisnode.ClusterNode}, "\ncluster-announce-ip 10.1.2.3\n", "sentinel"},
		{"sentinel", redisnode.MachineSpec{Role: redisnode.SentinelNode}, "\nsentinel announce-ip 10.1.2.3\n", "replica-"},
		{"port", redisnode.MachineSpec{}, "port 6379\nbind", "tls-port"},
		{"tls", redisnode.MachineSpec{TLS: true}, "port 0\ntls-port 6379\n", "port 6379\nport"},
		{"directory", redisnode.MachineSpec{Lines: []string{"tls-key-file ${DIR}/k"}}, "\ntls-key-file /clustertest/k\n", "${DIR}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := configuration(tt.spec, at)
			if !strings.Contains(got, tt.want) || strings.Contains(got, tt.none) {
				t.Errorf("configuration = %q, want %q and not %q", got, tt.want, tt.none)
			}
		})
	}
}

func TestArchiveRefusesFileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "../x", "/etc/passwd", confName} {
		if _, err := archive("", map[string][]byte{name: nil}); err == nil {
			t.Errorf("archive with a file %q succeeded", name)
		}
	}
}

func TestRouteScript(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	set := func(list ...string) map[netip.Addr]bool {
		m := make(map[netip.Addr]bool)
		for _, a := range list {
			m[addr(a)] = true
		}
		return m
	}
	added, gone := addedAndGone(set("10.0.0.3", "10.0.0.2", "10.0.0.4"), set("10.0.0.4", "10.0.0.9"))
	want := "set -e\n" +
		"ip route replace blackhole 10.0.0.2/32\n" +
		"ip route replace blackhole 10.0.0.3/32\n" +
		"ip route del blackhole 10.0.0.9/32 2>/dev/null || true"
	if got := routeScript(added, gone); got != want {
		t.Errorf("routeScript = %q, want %q", got, want)
	}
}
