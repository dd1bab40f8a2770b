package redisnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of [SentinelConfig].
const (
	DefaultSentinelReplicas = 1
	DefaultSentinels        = 3
	DefaultDownAfter        = 2 * time.Second // a stall of a busy machine is not one
	DefaultMasterName       = "mymaster"
)

// failoverTimeout is Sentinel's failover-timeout. A failover that got no
// majority is tried again after twice that.
const failoverTimeout = 2 * time.Second

// sentinelPeriods, in milliseconds, lets sentinels find each other sooner than
// with the default of 2 s, and notice within a second instead of ten what has
// become of a server that comes back. The ping period is also that of attempts
// to connect again. With the default of 1 s a promotion, which closes all
// connections, makes the new master look down for longer than down-after, and
// another failover may follow. It must not be much shorter than 300 ms either:
// five times it is how old a replica's INFO, which comes once a second, may be
// for the replica to be promoted. And a sentinel that could not run for 2 s, which
// happens on a busy machine, does nothing for the tilt period: the default of
// 30 s is longer than tests wait for a failover.
var sentinelPeriods = []string{"SENTINEL", "DEBUG",
	"publish-period", "500", "info-period", "1000", "ping-period", "300", "tilt-period", "1000"}

// SentinelConfig describes a master with replicas that sentinels watch over.
// SentinelConfig{} is one master, one replica and three sentinels.
type SentinelConfig struct {
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

	// Lines are configuration lines for master and replicas; see
	// ServerConfig.Lines.
	Lines []string

	// Files are put beside the configuration file of every server and sentinel;
	// Lines refer to them as ${DIR}/name.
	Files map[string][]byte

	// Access is how to talk to master and replicas, which are configured for
	// it. Sentinels log in with it, speak TLS if it says so, and themselves ask
	// for no password.
	Access Access
}

func (cfg SentinelConfig) withDefaults() SentinelConfig {
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
		return fmt.Errorf("redisnode: Replicas is %d, want at least 1", cfg.Replicas)
	case cfg.Sentinels < 0:
		return fmt.Errorf("redisnode: Sentinels is %d, want at least 1", cfg.Sentinels)
	case cfg.Quorum < 1 || cfg.Quorum > cfg.Sentinels:
		return fmt.Errorf("redisnode: Quorum is %d, want 1 to %d", cfg.Quorum, cfg.Sentinels)
	case cfg.DownAfter < time.Millisecond:
		return fmt.Errorf("redisnode: DownAfter is %s, want at least 1ms", cfg.DownAfter)
	case strings.ContainsAny(cfg.MasterName, " \t\r\n\"'"):
		return fmt.Errorf("redisnode: MasterName is %q, want no blanks or quotes", cfg.MasterName)
	case strings.ContainsAny(cfg.Access.Password, " \t\r\n\"'"):
		// A sentinel rewrites its file without quoting it.
		return errors.New("redisnode: the password has blanks or quotes, which sentinels cannot store")
	}
	return cfg.Access.validate(cfg.Files)
}

// Sentinel is a running master with replicas and sentinels. [StartSentinel]
// makes one; the zero value is of no use.
type Sentinel struct {
	// MasterName is the name of the master in the sentinels. It is not to be
	// written.
	MasterName string

	cfg       SentinelConfig
	data      *Replicated
	sentinels []*Server
}

// StartSentinel starts everything on machines that maker makes and returns when
// each replica is in sync and each sentinel knows the replicas and the other
// sentinels, after about 2 s. Sentinels announce themselves more often than by
// default, and end tilt mode after 1 s, so that a stall of the machine does not
// keep them from acting. When StartSentinel fails it leaves no machine behind.
// The caller closes maker, after [Sentinel.Stop].
func StartSentinel(ctx context.Context, maker Maker, cfg SentinelConfig) (*Sentinel, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	// A sentinel asks the master for its replicas when it starts: they have to
	// be there before it.
	data, err := StartReplicated(ctx, maker, ReplicatedConfig{
		Replicas: cfg.Replicas, Lines: cfg.Lines, Files: cfg.Files, Access: cfg.Access,
	})
	if err != nil {
		return nil, err
	}
	d := &Sentinel{MasterName: cfg.MasterName, cfg: cfg, data: data}
	if err := d.startSentinels(ctx); err != nil {
		err = fmt.Errorf("%w\n%s", err, d.Describe(logQuoted))
		d.Stop()
		return nil, err
	}
	return d, nil
}

func (d *Sentinel) startSentinels(ctx context.Context) (err error) {
	p := plan{
		spec: MachineSpec{
			Role:  SentinelNode,
			TLS:   d.cfg.Access.TLS != nil,
			Lines: append(d.cfg.Access.tlsLines(), d.cfg.sentinelLines(d.data.Primary().announced)...),
			Files: d.cfg.Files,
		},
		access: Access{TLS: d.cfg.Access.TLS},
		setup:  sentinelPeriods,
	}
	d.sentinels, err = startAll(ctx, d.data.maker, slices.Repeat([]plan{p}, d.cfg.Sentinels))
	if err != nil {
		return err
	}
	return poll(ctx, "wait for the sentinels", d.checkSentinels)
}

func (cfg SentinelConfig) sentinelLines(master Address) []string {
	name := cfg.MasterName
	lines := []string{
		fmt.Sprintf("sentinel monitor %s %s %d %d", name, master.IP, master.Port, cfg.Quorum),
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", name, cfg.DownAfter.Milliseconds()),
		fmt.Sprintf("sentinel failover-timeout %s %d", name, failoverTimeout.Milliseconds()),
	}
	if cfg.Access.Password == "" {
		return lines
	}
	if cfg.Access.Username != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-user %s %s", name, cfg.Access.Username))
	}
	return append(lines, fmt.Sprintf("sentinel auth-pass %s %s", name, Quote(cfg.Access.Password)))
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

// Addrs returns the addresses at which this process reaches the sentinels.
func (d *Sentinel) Addrs() []string { return addrs(d.sentinels) }

// Sentinels returns the sentinels.
func (d *Sentinel) Sentinels() []*Server { return slices.Clone(d.sentinels) }

// Nodes returns the data servers, the first of which was the master at first.
func (d *Sentinel) Nodes() []*Server { return d.data.Nodes() }

// CutReplication is [Cluster.CutReplication].
func (d *Sentinel) CutReplication(ctx context.Context, replica *Server) error {
	return cutReplication(ctx, replica)
}

// RestoreReplication is [Cluster.RestoreReplication].
func (d *Sentinel) RestoreReplication(ctx context.Context, replica *Server) error {
	return restoreReplication(ctx, replica, d.data.nodes)
}

// Isolate cuts every link between the servers and sentinels in group and all
// others, as [Cluster.Isolate] does.
func (d *Sentinel) Isolate(ctx context.Context, group ...*Server) error {
	return d.data.isolate(ctx, append(d.Nodes(), d.sentinels...), group)
}

// Heal ends what [Sentinel.Isolate] did. Without a cut it does nothing.
func (d *Sentinel) Heal(ctx context.Context) error { return d.data.Heal(ctx) }

// Master returns the server that the sentinels name as the master. Where they
// disagree the one with the highest config epoch, which saw the last failover,
// is right. Until a failover a killed or frozen master is still the answer.
func (d *Sentinel) Master(ctx context.Context) (*Server, error) {
	var master *Server
	best := int64(-1)
	errs := []error{errors.New("redisnode: no sentinel names a master")}
	for _, s := range d.sentinels {
		if !s.Responsive() {
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
		if node := d.named(known); err == nil && node != nil && epoch > best {
			master, best = node, epoch
		}
	}
	if master == nil {
		return nil, errors.Join(errs...)
	}
	return master, nil
}

// named returns the server that a sentinel's answer names as the master, or nil.
func (d *Sentinel) named(known map[string]string) *Server {
	return serverAt(d.data.nodes, net.JoinHostPort(known["ip"], known["port"]))
}

// WaitMaster blocks until the sentinels name another master than old, and
// returns it.
func (d *Sentinel) WaitMaster(ctx context.Context, old *Server) (*Server, error) {
	var found *Server
	err := poll(ctx, "wait for another master than "+old.String(), func(ctx context.Context) (err error) {
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

// Describe returns the log tail of every server and sentinel, of at most n bytes,
// for the eyes of whoever reads a failed test.
func (d *Sentinel) Describe(n int) string {
	return describeAll(append(d.Nodes(), d.sentinels...), n)
}

// Stop stops every server and sentinel for good. It is idempotent.
func (d *Sentinel) Stop() {
	// Sentinels first, or they would begin a failover.
	stopAll(d.sentinels)
	d.data.Stop()
}
