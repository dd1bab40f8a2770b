package lock

import (
	"cmp"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// The values of the zero fields of [Config].
const (
	DefaultPrefix    = "cache"
	DefaultTTL       = 8 * time.Second
	DefaultOpTimeout = 250 * time.Millisecond
	DefaultGrace     = 500 * time.Millisecond
	// DefaultShards is the number of names of [OpenShards] if none is given:
	// the smallest that survives the loss of one of three shards. Five cost two
	// commands more per step, and survive the loss of two of five shards, but
	// still only of one of three.
	DefaultShards = 3
)

// The bounds that Open checks.
const (
	maxTTL    = 24 * time.Hour
	maxPrefix = 128
	maxName   = 4096
)

// Config says how a Locker works. Config{} is usable. All that compete for the
// same locks need the same Prefix.
type Config struct {
	// Prefix begins the names of all keys and channels, followed by ":lock:". It
	// must not contain braces.
	//
	// Defaults to DefaultPrefix.
	Prefix string

	// TTL is how long a lock lasts without being extended: how long others wait
	// for a holder that died. It is extended every third of it, so a shorter one
	// costs more commands and survives shorter interruptions. At least 3 times
	// OpTimeout, at most 24 hours.
	//
	// Defaults to DefaultTTL.
	TTL time.Duration

	// OpTimeout limits each round trip to one node.
	//
	// Defaults to DefaultOpTimeout.
	OpTimeout time.Duration

	// Grace is how long a lock lasts that a release has passed on to the first
	// waiter, who confirms it at once. It should be some round trips: a shorter
	// one makes slow waiters lose their turn, a longer one makes the others wait
	// for one that is stuck. Redlock does not use it.
	//
	// Defaults to DefaultGrace, at most a third of the TTL.
	Grace time.Duration

	// Logger gets what nobody is told otherwise: releases that fail after the
	// caller has gone. It must not call the Locker.
	//
	// Defaults to slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.TTL = cmp.Or(c.TTL, DefaultTTL)
	c.OpTimeout = cmp.Or(c.OpTimeout, DefaultOpTimeout)
	c.Grace = cmp.Or(c.Grace, min(DefaultGrace, c.TTL/3))
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
		{c.OpTimeout < time.Millisecond, "OpTimeout", c.OpTimeout, "at least 1ms"},
		{c.TTL < 3*c.OpTimeout, "TTL", c.TTL, fmt.Sprintf("at least 3 times OpTimeout, %v", 3*c.OpTimeout)},
		{c.TTL > maxTTL, "TTL", c.TTL, fmt.Sprintf("at most %v", maxTTL)},
		{c.Grace < time.Millisecond, "Grace", c.Grace, "at least 1ms"},
	} {
		if f.bad {
			return fmt.Errorf("lock: Config.%s is %v, must be %s", f.name, f.value, f.bound)
		}
	}
	return nil
}

// drift is what the clocks of a server and of this process may differ in while a
// lock lasts: a hundredth, and 2 ms for the resolution of expiry.
func drift(lasts time.Duration) time.Duration { return lasts/100 + 2*time.Millisecond }

// margin is how long before the end of a lock its context is cancelled.
func margin(lasts time.Duration) time.Duration { return lasts / 10 }

// escape keeps a name from changing where the hash tag ends.
var escape = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")

// checkName reports what is wrong with a name.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("lock: name has %d bytes, must be 1 to %d", len(name), maxName)
	}
	return nil
}
