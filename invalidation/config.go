package invalidation

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// The values of the zero fields of [Config].
const (
	DefaultPrefix     = "cache"
	DefaultPartitions = 8
	DefaultHeartbeat  = 500 * time.Millisecond
	DefaultOpTimeout  = 250 * time.Millisecond
	DefaultQueue      = 4096
)

// The bounds that Open checks.
const (
	maxPartitions = 1024
	maxPrefix     = 256
	minHeartbeat  = 10 * time.Millisecond
)

// Mode is the kind of channel the messages go through.
type Mode uint8

// The modes.
const (
	// Auto is Sharded if every server that answers at Open knows SPUBLISH,
	// Classic otherwise; but whatever the first Bus of a prefix chose, if it
	// works here.
	Auto Mode = iota
	// Sharded publishes with SPUBLISH (Redis 7, Valkey): in a cluster a message
	// goes to one primary and its replicas.
	Sharded
	// Classic publishes with PUBLISH: in a cluster a message goes to every node
	// over the cluster bus. For older servers, and for proxies without SPUBLISH.
	Classic
)

// String returns the name of the mode in lower case.
func (m Mode) String() string {
	switch m {
	case Auto:
		return "auto"
	case Sharded:
		return "sharded"
	case Classic:
		return "classic"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// Config says how a Bus works. Config{} is usable. Prefix, Partitions and Mode
// must be the same for all that want to hear each other: Open refuses what
// differs from what the first Bus of the prefix left in Redis.
type Config struct {
	// Prefix begins the names of all keys and channels, followed by ":bus:". It
	// must not contain braces.
	//
	// Defaults to DefaultPrefix.
	Prefix string

	// Partitions is the number of channels the events are divided among. More
	// spread the load over more nodes, and make a Gap cost less; each costs one
	// small read per Heartbeat. To change it, change Prefix as well.
	//
	// Defaults to DefaultPartitions.
	Partitions int

	// Mode is the kind of channel. To change it, change Prefix as well.
	//
	// Defaults to Auto.
	Mode Mode

	// Heartbeat is the time between two checks that nothing was missed. A lost
	// message is noticed within about two of them, a silent server within one
	// and OpTimeout; and a feed is never proven to be more current than the
	// last one. Each costs one small round trip per primary.
	//
	// Defaults to DefaultHeartbeat.
	Heartbeat time.Duration

	// OpTimeout limits each round trip to Redis.
	//
	// Defaults to DefaultOpTimeout.
	OpTimeout time.Duration

	// Queue is how many events wait for the handler of a subscription before
	// more are dropped and a Gap is delivered instead; see [WithQueue].
	//
	// Defaults to DefaultQueue.
	Queue int

	// Clock reads a monotonic clock in nanoseconds, for those who compare
	// [Bus.Heard] and [Subscription.Heard] with readings of their own. It must
	// be cheap and safe for concurrent use.
	//
	// Defaults to the nanoseconds since the Bus was opened.
	Clock func() int64

	// Logger gets what nobody is told otherwise: lost connections, gaps,
	// handlers that panic. It must not call the Bus.
	//
	// Defaults to slog.Default().
	Logger *slog.Logger
}

// withDefaults fills in the zero fields.
func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.Partitions = cmp.Or(c.Partitions, DefaultPartitions)
	c.Heartbeat = cmp.Or(c.Heartbeat, DefaultHeartbeat)
	c.OpTimeout = cmp.Or(c.OpTimeout, DefaultOpTimeout)
	c.Queue = cmp.Or(c.Queue, DefaultQueue)
	if c.Clock == nil {
		start := time.Now()
		c.Clock = func() int64 { return int64(time.Since(start)) }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// validate says which field is out of bounds.
func (c Config) validate() error {
	for _, f := range []struct {
		bad         bool
		name, value any
		bound       string
	}{
		{strings.ContainsAny(c.Prefix, "{}"), "Prefix", c.Prefix, "without braces"},
		{len(c.Prefix) > maxPrefix, "Prefix", len(c.Prefix), fmt.Sprintf("at most %d bytes", maxPrefix)},
		{c.Partitions < 1 || c.Partitions > maxPartitions, "Partitions", c.Partitions, fmt.Sprintf("1 to %d", maxPartitions)},
		{c.Mode > Classic, "Mode", c.Mode, "Auto, Sharded or Classic"},
		{c.Heartbeat < minHeartbeat, "Heartbeat", c.Heartbeat, fmt.Sprintf("at least %v", minHeartbeat)},
		{c.OpTimeout < time.Millisecond, "OpTimeout", c.OpTimeout, "at least 1ms"},
		{c.Queue < 1, "Queue", c.Queue, "at least 1"},
	} {
		if f.bad {
			return fmt.Errorf("invalidation: Config.%s is %v, must be %s", f.name, f.value, f.bound)
		}
	}
	return nil
}
