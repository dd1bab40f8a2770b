package redisnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
)

// ReplicatedConfig describes a primary with replicas, without cluster mode and
// without anybody who would fail it over. ReplicatedConfig{} is a primary alone.
type ReplicatedConfig struct {
	// Replicas is the number of replicas. Zero means none.
	Replicas int

	// Lines are configuration lines for every server; see ServerConfig.Lines.
	Lines []string

	// Files are put beside the configuration file of every server; Lines refer
	// to them as ${DIR}/name.
	Files map[string][]byte

	// Access is how to talk to the servers, which are configured for it.
	Access Access
}

// Replicated is a running primary with replicas. [StartReplicated] makes one;
// the zero value is of no use.
type Replicated struct {
	maker Maker
	nodes []*Server

	change sync.Mutex // held by calls that change links
}

// StartReplicated starts a primary and then its replicas on machines that maker
// makes, and returns when every replica is in sync. When it fails it leaves no
// machine behind. The caller closes maker, after [Replicated.Stop].
func StartReplicated(ctx context.Context, maker Maker, cfg ReplicatedConfig) (*Replicated, error) {
	if cfg.Replicas < 0 {
		return nil, fmt.Errorf("redisnode: Replicas is %d, want at least 0", cfg.Replicas)
	}
	if err := cfg.Access.validate(cfg.Files); err != nil {
		return nil, err
	}
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	r := &Replicated{maker: maker}
	if err := r.start(ctx, cfg); err != nil {
		err = fmt.Errorf("%w\n%s", err, r.Describe(logQuoted))
		r.Stop()
		return nil, err
	}
	return r, nil
}

func (r *Replicated) start(ctx context.Context, cfg ReplicatedConfig) error {
	p := plan{
		spec: MachineSpec{
			Role:  Data,
			TLS:   cfg.Access.TLS != nil,
			Lines: slices.Concat(dataLines(), replicationLines(), cfg.Access.lines(), cfg.Lines),
			Files: cfg.Files,
		},
		access: cfg.Access,
	}
	primary, err := start(ctx, r.maker, p)
	if err != nil {
		return err
	}
	r.nodes = []*Server{primary}
	a := primary.announced
	p.spec.Lines = append(p.spec.Lines, "replicaof "+a.IP+" "+strconv.Itoa(a.Port))
	replicas, err := startAll(ctx, r.maker, slices.Repeat([]plan{p}, cfg.Replicas))
	if err != nil {
		return err
	}
	r.nodes = append(r.nodes, replicas...)
	return r.awaitReplicas(ctx, primary)
}

// Nodes returns the servers, the primary first.
func (r *Replicated) Nodes() []*Server { return slices.Clone(r.nodes) }

// Addrs returns the addresses at which this process reaches Nodes.
func (r *Replicated) Addrs() []string { return addrs(r.nodes) }

// Primary returns the server that was started as the primary.
func (r *Replicated) Primary() *Server { return r.nodes[0] }

// CutReplication is [Cluster.CutReplication].
func (r *Replicated) CutReplication(ctx context.Context, replica *Server) error {
	return cutReplication(ctx, replica)
}

// RestoreReplication is [Cluster.RestoreReplication].
func (r *Replicated) RestoreReplication(ctx context.Context, replica *Server) error {
	return restoreReplication(ctx, replica, r.nodes)
}

// Isolate cuts every link between the servers in group and all others, as
// [Cluster.Isolate] does.
func (r *Replicated) Isolate(ctx context.Context, group ...*Server) error {
	return r.isolate(ctx, r.nodes, group)
}

func (r *Replicated) isolate(ctx context.Context, members, group []*Server) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	r.change.Lock()
	defer r.change.Unlock()
	return isolate(ctx, r.maker, members, group)
}

// Heal ends what Isolate did. Without a cut it does nothing.
func (r *Replicated) Heal(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	r.change.Lock()
	defer r.change.Unlock()
	if err := r.maker.Heal(ctx); err != nil {
		return fmt.Errorf("redisnode: heal: %w", err)
	}
	return nil
}

// WaitHealthy blocks until every server answers and every replica gets every
// write of the primary.
func (r *Replicated) WaitHealthy(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	return r.awaitReplicas(ctx, r.Primary())
}

// Reset brings everything back to how [StartReplicated] returned it: it ends
// isolation and cuts of replication, starts and thaws servers, undoes
// [Server.SetConfig] and REPLICAOF, ends CLIENT PAUSE and deletes all data.
func (r *Replicated) Reset(ctx context.Context) error {
	ctx, cancel := withTimeout(ctx, defaultTimeout)
	defer cancel()
	if err := r.revive(ctx); err != nil {
		return err
	}
	primary, replicas := r.nodes[0], r.nodes[1:]
	if _, err := primary.Do(ctx, "REPLICAOF", "NO", "ONE"); err != nil {
		return err
	}
	if err := replicateAll(ctx, replicas, primary); err != nil {
		return err
	}
	return r.empty(ctx, primary)
}

// replicateAll makes servers without cluster mode replicate primary.
func replicateAll(ctx context.Context, servers []*Server, primary *Server) error {
	a := primary.announced
	return inParallel(len(servers), func(i int) error {
		_, err := servers[i].Do(ctx, "REPLICAOF", a.IP, strconv.Itoa(a.Port))
		return err
	})
}

// revive makes every server run undisturbed.
func (r *Replicated) revive(ctx context.Context) error {
	if err := r.Heal(ctx); err != nil {
		return err
	}
	if err := revive(r.nodes); err != nil {
		return err
	}
	return restoreAll(ctx, r.nodes)
}

// empty waits for replication and deletes all data.
func (r *Replicated) empty(ctx context.Context, primary *Server) error {
	if err := r.awaitReplicas(ctx, primary); err != nil {
		return err
	}
	return flush(ctx, []*Server{primary}, r.others(primary))
}

func (r *Replicated) others(primary *Server) []*Server {
	return slices.DeleteFunc(r.Nodes(), func(s *Server) bool { return s == primary })
}

// awaitReplicas blocks until primary is a primary and all others replicate it.
func (r *Replicated) awaitReplicas(ctx context.Context, primary *Server) error {
	return inParallel(len(r.nodes), func(i int) error {
		s := r.nodes[i]
		return poll(ctx, "wait for "+s.String(), func(ctx context.Context) error {
			return checkRole(ctx, s, primary)
		})
	})
}

func checkRole(ctx context.Context, s, primary *Server) error {
	if !s.Responsive() {
		return errors.New("it is killed or frozen")
	}
	role, err := s.role(ctx)
	if err != nil {
		return err
	}
	want := "slave"
	if s == primary {
		want = "master"
	}
	if role != want {
		return fmt.Errorf("its role is %q, want %q", role, want)
	}
	return checkReplica(ctx, s, []*Server{primary})
}

// Describe returns the log tail of every server, of at most n bytes, for the
// eyes of whoever reads a failed test.
func (r *Replicated) Describe(n int) string { return describeAll(r.nodes, n) }

// Stop stops every server for good. It is idempotent.
func (r *Replicated) Stop() { stopAll(r.nodes) }
