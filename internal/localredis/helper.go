package localredis

import "context"

// Standalone runs a standalone server for the duration of the test, or ends the
// test as [Require] does. The args are those of [Config]. If the test fails,
// the end of the server's log is logged.
func Standalone(tb TB, f Flavor, args ...string) *Server {
	tb.Helper()
	Require(tb, f)
	s, err := Start(context.Background(), Config{Flavor: f, Args: args})
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	stopAfter(tb, s.Stop, s.Describe)
	return s
}

// NewCluster runs a cluster for the duration of the test, or ends the test as
// [Require] does. If the test fails, the end of every node's log and its view
// of the cluster are logged.
func NewCluster(tb TB, cfg ClusterConfig) *Cluster {
	tb.Helper()
	Require(tb, cfg.Flavor)
	c, err := StartCluster(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	stopAfter(tb, c.Stop, c.Describe)
	return c
}

// NewSentinel runs a master with replicas and sentinels for the duration of the
// test, or ends the test as [Require] does. If the test fails, the end of every
// log is logged.
func NewSentinel(tb TB, cfg SentinelConfig) *Sentinel {
	tb.Helper()
	Require(tb, cfg.Flavor)
	d, err := StartSentinel(context.Background(), cfg)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	stopAfter(tb, d.Stop, d.Describe)
	return d
}

// stopAfter stops servers when the test ends, and first describes them if it
// has failed.
func stopAfter(tb TB, stop func(), describe func(n int) string) {
	tb.Cleanup(func() {
		if t, ok := tb.(interface{ Failed() bool }); ok && t.Failed() {
			tb.Helper()
			tb.Logf("%s", describe(logQuoted))
		}
		stop()
	})
}
