package clustertest

import (
	"math"
	"strings"
	"testing"
	"time"
)

// refused wants each topology refused before anything is started, with the words
// in the error.
func TestTopologyIsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		topology Topology
		words    []string
	}{
		"unknown mode":               {Topology{Mode: 3}, []string{"Mode is 3"}},
		"unknown backend":            {Topology{Backend: -1}, []string{"Backend is -1"}},
		"negative primaries":         {Topology{Primaries: -1}, []string{"Primaries is -1"}},
		"more primaries than slots":  {Topology{Primaries: 16385}, []string{"Primaries is 16385", "16384"}},
		"negative replicas":          {Topology{ReplicasPerPrimary: -2}, []string{"ReplicasPerPrimary is -2"}},
		"negative sentinels":         {Topology{Mode: SentinelMode, Sentinels: -1}, []string{"Sentinels is -1"}},
		"too many nodes":             {Topology{Primaries: 51, ReplicasPerPrimary: 1}, []string{"more than 100 nodes"}},
		"a product that overflows":   {Topology{Primaries: 16384, ReplicasPerPrimary: math.MaxInt}, []string{"more than 100 nodes"}},
		"two primaries, no cluster":  {Topology{Mode: Replicated, Primaries: 2}, []string{"Primaries is 2", "one primary"}},
		"sentinels in a cluster":     {Topology{Sentinels: 3}, []string{"cluster mode has no sentinels"}},
		"coverage without slots":     {Topology{Mode: SentinelMode, FullCoverage: true}, []string{"FullCoverage"}},
		"timeout nobody looks at":    {Topology{Mode: Replicated, NodeTimeout: time.Second}, []string{"NodeTimeout"}},
		"timeout below a ms":         {Topology{NodeTimeout: time.Microsecond}, []string{"NodeTimeout", "1ms"}},
		"negative start timeout":     {Topology{StartTimeout: -1}, []string{"StartTimeout"}},
		"password with a blank":      {Topology{Password: "a b"}, []string{"Password"}},
		"password with a newline":    {Topology{Password: "a\nb"}, []string{"Password"}},
		"password with a quote":      {Topology{Password: `a"b`}, []string{"Password"}},
		"user without rules":         {Topology{Users: []string{"alice"}}, []string{`"alice"`, "+@read"}},
		"default user":               {Topology{Users: []string{"default on nopass"}}, []string{"use Password"}},
		"user twice":                 {Topology{Users: []string{"a on", "a off"}}, []string{"twice"}},
		"user over two lines":        {Topology{Users: []string{"a on\nport 1"}}, []string{"control"}},
		"memory without a size":      {Topology{MaxMemory: "lots"}, []string{"MaxMemory", "10mb"}},
		"policy with a second word":  {Topology{MaxMemoryPolicy: "allkeys-lru\nport 1"}, []string{"MaxMemoryPolicy"}},
		"empty line":                 {Topology{Config: []string{" "}}, []string{"name value"}},
		"two lines in one":           {Topology{Config: []string{"hz 10\nport 1"}}, []string{"control"}},
		"port":                       {Topology{Config: []string{"port 6379"}}, []string{"port 6379", "backend"}},
		"upper case and blanks":      {Topology{Config: []string{"  PORT 6379"}}, []string{"PORT 6379"}},
		"announcement":               {Topology{Config: []string{"cluster-announce-hostname x"}}, []string{"harness"}},
		"password in the wrong spot": {Topology{Config: []string{"requirepass x"}}, []string{"Topology.Password"}},
		"tls in the wrong spot":      {Topology{Config: []string{"tls-port 1"}}, []string{"Topology.TLS"}},
		"memory in the wrong spot":   {Topology{Config: []string{"maxmemory 1mb"}}, []string{"Topology.MaxMemory"}},
		"several mistakes": {Topology{Password: "a b", MaxMemory: "x", Config: []string{"dir /"}},
			[]string{"Password", "MaxMemory", "dir /"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.topology.withDefaults().validate()
			if err == nil {
				t.Fatalf("%+v is accepted", tt.topology)
			}
			for _, word := range tt.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("error %q does not say %q", err, word)
				}
			}
			if _, runErr := Run(t.Context(), tt.topology); runErr == nil || runErr.Error() != err.Error() {
				t.Errorf("Run: %v, want %v", runErr, err)
			}
		})
	}
}

func TestTopologyIsAccepted(t *testing.T) {
	t.Parallel()
	for name, topology := range map[string]Topology{
		"zero":             {},
		"one primary":      {Primaries: 1},
		"two primaries":    {Primaries: 2, ReplicasPerPrimary: 2},
		"a hundred nodes":  {Primaries: 50, ReplicasPerPrimary: 1},
		"standalone":       {Mode: Replicated},
		"sentinels":        {Mode: SentinelMode},
		"everything":       {Password: "s3cret!#", Users: []string{"alice on >x ~app:* +@read"}, TLS: true, MaxMemory: "10MB", MaxMemoryPolicy: "noeviction", Config: []string{"hz 100", "appendonly no", "replica-priority 10"}},
		"a name like port": {Config: []string{"portal 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := topology.withDefaults().validate(); err != nil {
				t.Errorf("%+v: %v", topology, err)
			}
		})
	}
}

func TestTopologyDefaults(t *testing.T) {
	t.Parallel()
	cluster := Topology{}.withDefaults()
	if cluster.Primaries != 3 || cluster.ReplicasPerPrimary != 0 || cluster.Sentinels != 0 || cluster.NodeTimeout != time.Second {
		t.Errorf("cluster: %+v", cluster)
	}
	sentinel := Topology{Mode: SentinelMode}.withDefaults()
	if sentinel.Primaries != 1 || sentinel.ReplicasPerPrimary != 1 || sentinel.Sentinels != 3 || sentinel.NodeTimeout != time.Second {
		t.Errorf("sentinel: %+v", sentinel)
	}
	replicated := Topology{Mode: Replicated}.withDefaults()
	if replicated.Primaries != 1 || replicated.ReplicasPerPrimary != 0 || replicated.NodeTimeout != 0 {
		t.Errorf("replicated: %+v", replicated)
	}
}
