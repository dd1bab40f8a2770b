package compare

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetcache/fleetcache/bench/internal/peer"
	"github.com/fleetcache/fleetcache/bench/internal/record"
	"github.com/fleetcache/fleetcache/bench/internal/rounds"
	"github.com/fleetcache/fleetcache/bench/internal/subject"
	"github.com/fleetcache/fleetcache/internal/localredis"
)

// Config says how much is measured.
type Config struct {
	// Quick measures what the pairs of the RESULT line need, and no more.
	Quick bool
	// Rounds is how many rounds a table has. Defaults to 8.
	Rounds int
	// Log gets each table when it is measured. Defaults to none.
	Log io.Writer
	// Only, if not empty, measures the sections whose names contain it.
	Only string
}

// maxMemory is the size of each primary: so much that nothing is evicted but
// what has been read once and never again.
const maxMemory = "512mb"

// A lab is a run on its cluster.
type lab struct {
	Config
	cluster *localredis.Cluster
	run     *record.Run
	opened  int // numbers the prefixes of the keys of the peers
}

// A section is one or a few tables that share what they have opened.
type section struct {
	name  string
	quick bool
	run   func(context.Context, *lab, *rounds.Closers) error
}

// sections returns all sections, in the order of the report.
func sections() []section {
	return []section{
		{"direct", true, directHits},
		{"hit", true, hits},
		{"sizes", false, hitSizes},
		{"zipf", false, zipf},
		{"redis", true, reads},
		{"miss", true, misses},
		{"expiry", false, expiries},
		{"absent", false, absents},
		{"tagged", false, tagged},
		{"many", true, many},
		{"writes", false, writes},
		{"tags", false, tagInvalidation},
		{"codec", false, codecs},
		{"memory", false, memory},
	}
}

// Run measures all tables. It needs redis-server on PATH.
func Run(ctx context.Context, cfg Config) (_ *record.Run, err error) {
	if flag.Lookup("test.benchtime") == nil {
		testing.Init()
	}
	cfg.Rounds = cmp.Or(cfg.Rounds, 8)
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	command := "go run -C bench ./cmd/compare"
	if cfg.Quick {
		command += " -quick"
	}
	l := &lab{Config: cfg, run: record.New("compare", "Side by side with its peers", command)}
	l.run.Text = introduction()
	l.run.Versions = versions()
	if l.cluster, err = subject.StartCacheCluster(ctx, maxMemory); err != nil {
		return nil, err
	}
	defer l.cluster.Stop()
	if l.run.Server, err = serverVersion(ctx, l.cluster); err != nil {
		return nil, err
	}
	for _, s := range sections() {
		if l.Quick && !s.quick || !strings.Contains(s.name, l.Only) {
			continue
		}
		if err := l.measure(ctx, s); err != nil {
			return nil, fmt.Errorf("compare: %s: %w", s.name, err)
		}
	}
	return l.run, nil
}

// measure runs one section, on an empty cluster, and closes what it opened.
func (l *lab) measure(ctx context.Context, s section) (err error) {
	var end rounds.Closers
	defer func() { err = end.End(err) }()
	for _, n := range l.cluster.Nodes() {
		if _, err := n.Do(ctx, "FLUSHALL", "SYNC"); err != nil {
			return err
		}
	}
	return s.run(ctx, l, &end)
}

// open opens a peer, with keys of its own, for the time of a section.
func (l *lab) open(ctx context.Context, end *rounds.Closers, name string, s peer.Settings) (peer.Cache, error) {
	l.opened++
	s.Addrs = l.cluster.Addrs()
	s.Prefix = cmp.Or(s.Prefix, "c"+strconv.Itoa(l.opened))
	s.OpTimeout = cmp.Or(s.OpTimeout, subject.OpTimeout)
	c, err := peer.Open(ctx, name, s)
	if err == nil {
		end.Add(c.Close)
	}
	return c, err
}

// on bounds the commands of a body, and reports them.
func (l *lab) on(want subject.Bounds, body subject.Bench) subject.Bench {
	return subject.OnCluster(l.cluster.Nodes(), want, body)
}

func introduction() []string {
	return []string{
		"Every peer is set up as its own README recommends; the comments of its type in `bench/internal/peer` say how, and what it cannot do. " +
			"All of those that have Redis behind them use the same cluster of three primaries on loopback, on the machine that also runs the benchmark. " +
			"Those that do not are not told of changes made elsewhere, and share nothing between processes.",
		"The contenders of a table take turns in rounds, each round in the opposite order of the one before. " +
			"Times are medians over the rounds, ratios are medians of the ratios of the rounds, with the quartiles behind them. " +
			"A ratio above 1 means that fleetcache is quicker. A row is called ahead or behind only if both quartiles are on one side of 1. " +
			"The commands of the servers are counted during each run, and a run whose reads did not end where the table says they do is an error.",
	}
}

// versions returns the versions of the modules this program was built with.
func versions() map[string]string {
	out := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	have := map[string]string{}
	for _, d := range info.Deps {
		have[d.Path] = d.Version
	}
	modules := []string{"github.com/redis/rueidis", "github.com/redis/go-redis/v9"}
	for _, name := range peer.Names() {
		if t, err := peer.TraitsOf(name); err == nil {
			modules = append(modules, t.Module)
		}
	}
	for _, m := range modules {
		if v, ok := have[m]; ok && v != "v0.0.0" {
			out[m] = v
		}
	}
	return out
}

func serverVersion(ctx context.Context, c *localredis.Cluster) (string, error) {
	reply, err := c.Nodes()[0].Do(ctx, "INFO", "server")
	if err != nil {
		return "", err
	}
	text, _ := reply.(string)
	_, rest, ok := strings.Cut(text, "redis_version:")
	version, _, _ := strings.Cut(rest, "\r\n")
	if !ok {
		return "", errors.New("INFO server: no version")
	}
	return "Redis " + version + ", cluster of 3 primaries", nil
}
