package localredis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Defaults of [SentinelConfig].
const (
	DefaultSentinelReplicas = 1
	DefaultSentinels        = 3
	DefaultDownAfter        = 500 * time.Millisecond
	DefaultMasterName       = "mymaster"
)

// failoverTimeout is Sentinel's failover-timeout. A failover that got no
// majority is tried again after twice that.
const failoverTimeout = 2 * time.Second

// sentinelPeriods, in milliseconds, lets sentinels find each other sooner than
// with the default of 2 s. And a sentinel that could not run for 2 s, which
// happens on a busy machine, does nothing for the tilt period: the default of
// 30 s is longer than tests wait for a failover.
var sentinelPeriods = []string{"SENTINEL", "DEBUG", "publish-period", "500", "tilt-period", "1000"}

// SentinelConfig describes a master with replicas that sentinels watch over.
// SentinelConfig{} is one master, one replica and three sentinels.
type SentinelConfig struct {
	// Flavor is the server to run, for data and as sentinel.
	//
	// Defaults to Redis.
	Flavor Flavor

	// Replicas is the number of replicas.
	//
	// Defaults to DefaultSentinelReplicas.
	Replicas int

	// Sentinels is the number of sentinels.
	//
	// Defaults to DefaultSentinels.
	Sentinels int

	// Quorum is the number of sentinels that have to miss the master before one
	// of them tries a failover. The failover itself takes a majority.
	//
	// Defaults to Sentinels/2 + 1.
	Quorum int

	// DownAfter is the silence after which a sentinel misses a server. The
	// quorum of the others is asked once a second, so a failover takes some
	// seconds however small this is.
	//
	// Defaults to DefaultDownAfter.
	DownAfter time.Duration

	// MasterName is the name of the master in the sentinels.
	//
	// Defaults to DefaultMasterName.
	MasterName string

	// Args are configuration directives for master and replicas; see
	// Config.Args.
	Args []string
}

func (cfg SentinelConfig) withDefaults() SentinelConfig {
	cfg.Flavor = cfg.Flavor.orRedis()
	cfg.Replicas = cmp.Or(cfg.Replicas, DefaultSentinelReplicas)
	cfg.Sentinels = cmp.Or(cfg.Sentinels, DefaultSentinels)
	cfg.Quorum = cmp.Or(cfg.Quorum, cfg.Sentinels/2+1)
	cfg.DownAfter = cmp.Or(cfg.DownAfter, DefaultDownAfter)
	cfg.MasterName = cmp.Or(cfg.MasterName, DefaultMasterName)
	return cfg
}

func (cfg SentinelConfig) validate() error {
	switch {
	case cfg.Replicas < 0:
		return fmt.Errorf("localredis: Replicas is %d, want at least 1", cfg.Replicas)
	case cfg.Sentinels < 0:
		return fmt.Errorf("localredis: Sentinels is %d, want at least 1", cfg.Sentinels)
	case cfg.Quorum < 1 || cfg.Quorum > cfg.Sentinels:
		return fmt.Errorf("localredis: Quorum is %d, want 1 to %d", cfg.Quorum, cfg.Sentinels)
	case cfg.DownAfter < time.Millisecond:
		return fmt.Errorf("localredis: DownAfter is %s, want at least 1ms", cfg.DownAfter)
	case strings.ContainsAny(cfg.MasterName, " \t\r\n\"'"):
		return fmt.Errorf("localredis: MasterName is %q, want no blanks or quotes", cfg.MasterName)
	}
	return nil
}

// Sentinel is a running master with replicas and sentinels. [StartSentinel]
// makes one; the zero value is of no use.
type Sentinel struct {
	// MasterName is the name of the master in the sentinels. It is not to be
	// written.
	MasterName string

	nodes     []*Server
	sentinels []*Server
}

// StartSentinel starts everything and returns when each replica is in sync and
// each sentinel knows the replicas and the other sentinels, after about 2 s.
// Sentinels announce themselves more often than by default, and end tilt mode
// after 1 s, so that a stall of the machine does not keep them from acting.
func StartSentinel(ctx context.Context, cfg SentinelConfig) (*Sentinel, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	d := &Sentinel{MasterName: cfg.MasterName}
	if err := d.start(ctx, cfg); err != nil {
		err = fmt.Errorf("%w\n%s", err, d.describe(logQuoted))
		d.Stop()
		return nil, err
	}
	return d, nil
}

func (d *Sentinel) start(ctx context.Context, cfg SentinelConfig) error {
	data := Config{Flavor: cfg.Flavor, Args: append([]string{
		"--repl-ping-replica-period", "1",
		"--repl-timeout", "3",
	}, cfg.Args...)}
	master, err := Start(ctx, data)
	if err != nil {
		return err
	}
	d.nodes = append(d.nodes, master)
	data.Args = append(data.Args, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
	plans := make([]plan, cfg.Replicas)
	for i := range plans {
		plans[i] = plan{Config: data}
	}
	replicas, err := startAll(ctx, plans)
	if err != nil {
		return err
	}
	d.nodes = append(d.nodes, replicas...)
	// A sentinel asks the master for its replicas when it starts, and next
	// after 10 s: they have to be there before it.
	for _, s := range replicas {
		err := poll(ctx, "wait for replica "+s.Addr(), func(ctx context.Context) error {
			return checkReplica(ctx, s, d.nodes)
		})
		if err != nil {
			return err
		}
	}
	if err := d.startSentinels(ctx, cfg, master); err != nil {
		return err
	}
	return poll(ctx, "wait for the sentinels", func(ctx context.Context) error {
		return d.checkSentinels(ctx, cfg)
	})
}

func (d *Sentinel) startSentinels(ctx context.Context, cfg SentinelConfig, master *Server) (err error) {
	plans := make([]plan, cfg.Sentinels)
	for i := range plans {
		plans[i] = plan{Config: Config{Flavor: cfg.Flavor}, setup: sentinelPeriods, sentinel: []string{
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", cfg.MasterName, master.port, cfg.Quorum),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", cfg.MasterName, cfg.DownAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s %d", cfg.MasterName, failoverTimeout.Milliseconds()),
		}}
	}
	d.sentinels, err = startAll(ctx, plans)
	return err
}

func (d *Sentinel) checkSentinels(ctx context.Context, cfg SentinelConfig) error {
	for _, s := range d.sentinels {
		known, err := d.ask(ctx, s)
		if err != nil {
			return err
		}
		info, err := s.doString(ctx, "INFO", "sentinel")
		if err != nil {
			return err
		}
		if infoField(info, "sentinel_tilt") != "0" {
			return fmt.Errorf("sentinel %s is in tilt mode", s.Addr())
		}
		for _, want := range [][2]string{
			{"flags", "master"},
			{"num-slaves", strconv.Itoa(cfg.Replicas)},
			{"num-other-sentinels", strconv.Itoa(cfg.Sentinels - 1)},
		} {
			if got := known[want[0]]; got != want[1] {
				return fmt.Errorf("sentinel %s has %s %q, want %q", s.Addr(), want[0], got, want[1])
			}
		}
	}
	return nil
}

// ask returns what one sentinel knows of the master.
func (d *Sentinel) ask(ctx context.Context, sentinel *Server) (map[string]string, error) {
	reply, err := sentinel.Do(ctx, "SENTINEL", "MASTER", d.MasterName)
	if err != nil {
		return nil, err
	}
	fields, _ := reply.([]any)
	known := make(map[string]string, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		known[name], _ = fields[i+1].(string)
	}
	return known, nil
}

// Addrs returns the addresses of the sentinels, which is what clients are given.
func (d *Sentinel) Addrs() []string { return addrs(d.sentinels) }

// Sentinels returns the sentinels.
func (d *Sentinel) Sentinels() []*Server { return append([]*Server(nil), d.sentinels...) }

// Nodes returns the data servers, the first of which was the master at first.
func (d *Sentinel) Nodes() []*Server { return append([]*Server(nil), d.nodes...) }

// Master returns the server that the sentinels name as the master. Where they
// disagree the one with the highest config epoch, which saw the last failover,
// is right. Until a failover a killed or frozen master is still the answer.
func (d *Sentinel) Master(ctx context.Context) (*Server, error) {
	var master *Server
	best := int64(-1)
	errs := []error{errors.New("localredis: no sentinel names a master")}
	for _, s := range d.sentinels {
		if !s.responsive() {
			continue
		}
		var known map[string]string
		err := probe(ctx, func(ctx context.Context) (err error) {
			known, err = d.ask(ctx, s)
			return err
		})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		epoch, err := strconv.ParseInt(known["config-epoch"], 10, 64)
		if node := d.byPort(known["port"]); err == nil && node != nil && epoch > best {
			master, best = node, epoch
		}
	}
	if master == nil {
		return nil, errors.Join(errs...)
	}
	return master, nil
}

func (d *Sentinel) byPort(port string) *Server {
	for _, s := range d.nodes {
		if strconv.Itoa(s.port) == port {
			return s
		}
	}
	return nil
}

// WaitMaster blocks until the sentinels name another master than old, and
// returns it.
func (d *Sentinel) WaitMaster(ctx context.Context, old *Server) (*Server, error) {
	var found *Server
	err := poll(ctx, "wait for another master than "+old.Addr(), func(ctx context.Context) (err error) {
		found, err = d.Master(ctx)
		if err == nil && found == old {
			err = errors.New("there is none yet")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Stop stops every server and sentinel for good. It is idempotent.
func (d *Sentinel) Stop() {
	// Sentinels first, or they would begin a failover.
	stopAll(d.sentinels)
	stopAll(d.nodes)
}

func (d *Sentinel) describe(n int) string {
	var b strings.Builder
	for _, s := range append(d.Nodes(), d.sentinels...) {
		b.WriteString(s.describe(n))
	}
	return b.String()
}
