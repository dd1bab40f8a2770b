package rc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Open connects to a Redis deployment and returns its Manager. The URL is one
// of
//
//	redis://[user:password@]host:port[,host:port…][/db]
//	rediss://…                              the same over TLS
//	unix://[user:password@]/path/to/socket[?db=n]
//	redis://host:port,host:port?master_set=name   Sentinels and the primary they watch
//
// Whether it is a standalone server or a cluster is found out; several
// addresses are members of one cluster, or Sentinels. valkey:// and valkeys://
// mean the same as redis:// and rediss://.
//
// It blocks until every primary has answered once, or ctx ends, or 5 seconds
// or twice Options.DialTimeout are over, whichever is more, and fails if none can be reached, if the server
// is older than Redis 7.0, or if it refuses what the library needs. ctx has no
// influence on the Manager afterwards.
func Open(ctx context.Context, url string, opts Options) (*Manager, error) {
	opt, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenClient(ctx, opt, opts)
}

// OpenClient is [Open] for everything a URL cannot say. The fields that the
// near cache depends on are set by it, and must be left alone: DisableCache,
// NewCacheStoreFn, ClientTrackingOptions, PipelineMultiplex,
// DisableAutoPipelining, AlwaysRESP2, SendToReplicas, ReplicaOnly.
func OpenClient(ctx context.Context, opt rueidis.ClientOption, opts Options) (*Manager, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if err := checkClient(opt); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return newManager(ctx, opts.apply(opt), opts)
}

func checkClient(opt rueidis.ClientOption) error {
	for _, f := range []struct {
		name string
		set  bool
		why  string
	}{
		{"DisableCache", opt.DisableCache, "L1 is fed by client tracking"},
		{"NewCacheStoreFn", opt.NewCacheStoreFn != nil, "L1 is the client's cache"},
		{"ClientTrackingOptions", opt.ClientTrackingOptions != nil, "L1 needs tracking mode OPTIN without NOLOOP"},
		{"PipelineMultiplex", opt.PipelineMultiplex > 0, "reads, writes and pushes must share one connection per node"},
		{"DisableAutoPipelining", opt.DisableAutoPipelining, "reads, writes and pushes must share one connection per node"},
		{"AlwaysRESP2", opt.AlwaysRESP2, "pushes need RESP3"},
		{"SendToReplicas", opt.SendToReplicas != nil, "L1 is filled from primaries only"},
		{"ReplicaOnly", opt.ReplicaOnly, "L1 is filled from primaries only"},
		{"InitAddress", len(opt.InitAddress) == 0, "it must name at least one address"},
	} {
		if f.set {
			return fmt.Errorf("rc: rueidis.ClientOption.%s is not usable here: %s", f.name, f.why)
		}
	}
	return nil
}

// apply adds the options to those of the client.
func (o Options) apply(opt rueidis.ClientOption) rueidis.ClientOption {
	if opt.ClientName == "" || o.ClientName != "fleetcache" {
		opt.ClientName = o.ClientName
	}
	if o.Username != "" || o.Password != "" {
		opt.Username, opt.Password = o.Username, o.Password
	}
	if o.TLS != nil {
		opt.TLSConfig = o.TLS
	}
	if o.MasterSet != "" {
		opt.Sentinel.MasterSet = o.MasterSet
	}
	if opt.Dialer.Timeout == 0 || o.DialTimeout != DefaultDialTimeout {
		opt.Dialer.Timeout = o.DialTimeout
	}
	if opt.ConnWriteTimeout == 0 {
		// rueidis' own check of a silent connection; the beats notice first.
		opt.ConnWriteTimeout = max(o.OpTimeout, o.MaxStaleness)
	}
	if opt.BlockingPoolSize == 0 {
		opt.BlockingPoolSize = o.BlockingPool
	}
	if opt.ClusterOption.ShardsRefreshInterval == 0 {
		opt.ClusterOption.ShardsRefreshInterval = 5 * time.Second
	}
	opt.PipelineMultiplex = -1
	opt.AlwaysPipelining = true // otherwise an idle connection throws pushes away
	return opt
}

// ParseURL returns the client options that [Open] makes of a URL, for
// [OpenClient]. It is rueidis.ParseURL with several addresses in the host part,
// and errors that do not show the password.
func ParseURL(raw string) (rueidis.ClientOption, error) {
	var more []string
	if scheme, rest, ok := strings.Cut(raw, "://"); ok && scheme != "unix" {
		end := len(rest)
		if i := strings.IndexAny(rest, "/?"); i >= 0 {
			end = i
		}
		userinfo, hosts := "", rest[:end]
		if i := strings.LastIndexByte(hosts, '@'); i >= 0 {
			userinfo, hosts = hosts[:i+1], hosts[i+1:]
		}
		first, others, several := strings.Cut(hosts, ",")
		if several {
			more = strings.Split(others, ",")
			raw = scheme + "://" + userinfo + first + rest[end:]
		}
	}
	opt, err := rueidis.ParseURL(raw)
	if err != nil {
		return opt, fmt.Errorf("rc: URL %s: %w", redact(raw), cleanURLError(err))
	}
	for _, a := range more {
		if a = strings.TrimSpace(a); a == "" {
			return opt, fmt.Errorf("rc: URL %s: an address is empty", redact(raw))
		}
		if !strings.Contains(a, ":") {
			a += ":6379"
		}
		opt.InitAddress = append(opt.InitAddress, a)
	}
	return opt, nil
}

// redact returns the URL without its password.
func redact(raw string) string {
	if u, err := url.Parse(raw); err == nil {
		return strconv.Quote(u.Redacted())
	}
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		return strconv.Quote("…" + raw[i:])
	}
	return strconv.Quote(raw)
}

// cleanURLError drops the copy of the URL that errors of net/url carry: it may
// have a password.
func cleanURLError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// explain turns an error of connecting into one that says what to do.
func explain(err error, opt rueidis.ClientOption) error {
	where := strings.Join(opt.InitAddress, ", ")
	text := err.Error()
	has := func(s string) bool { return strings.Contains(text, s) }
	hint := ""
	switch {
	case has("WRONGPASS") || has("NOAUTH") || has("invalid password") || has("AUTH called without"):
		hint = "check the user name and password (URL or Options.Username and Password)"
	case has("NOPERM") || has("ACL failure") || has("can't run this command"):
		hint = "the ACL user may not do what the cache needs, on keys that begin with Options.Prefix; docs/operations.md has the list"
	case errors.Is(err, rueidis.ErrNoCache):
		hint = "the server has no client tracking, or does not speak RESP3: Redis 7.0 or Valkey 8 is needed, without a proxy in between"
	case has("cluster support disabled"):
		hint = "several addresses must be members of one cluster, or Sentinels (Options.MasterSet)"
	case has("first record does not look like a TLS handshake"):
		hint = "the server does not speak TLS on this port: use redis://"
	case has("certificate"):
		hint = "the server's certificate was not accepted (Options.TLS)"
	case has("connection refused") || has("i/o timeout") || has("no such host") || errors.Is(err, context.DeadlineExceeded):
		hint = "is the server running, and reachable from here?"
	}
	if hint == "" {
		return fmt.Errorf("rc: open %s: %w", where, err)
	}
	return fmt.Errorf("rc: open %s: %w; %s", where, err, hint)
}
