//go:build unix

package steps

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fleetcache/fleetcache/bench/internal/origin"
	"github.com/fleetcache/fleetcache/bench/internal/progress"
)

// The scenario, in its own time and numbers.
const (
	scenarioProducts = 1000
	scenarioLength   = 10 * time.Minute
	scenarioEvery    = 10 * time.Second // between two rounds of requests
	scenarioTTL      = time.Minute
	scenarioFast     = 100 * time.Millisecond
	scenarioSlow     = time.Second
	// What FusionCache's documentation sets for its own features.
	scenarioStaleFor    = 2 * time.Hour
	scenarioThrottle    = 30 * time.Second
	scenarioSoftTimeout = 100 * time.Millisecond
	scenarioEarly       = 0.9
	// scenarioLeast is what it calls the theoretical minimum.
	scenarioLeast = scenarioProducts * int64(scenarioLength/scenarioTTL)
)

// A spell is how the database answers from a time on.
type spell struct {
	from time.Duration // in the scenario's time
	name string
	mode origin.Mode // in the scenario's time
}

// spells are slow for two minutes and down for three, as there; when, only a
// picture says.
var spells = []spell{
	{0, "fast", origin.Mode{Service: scenarioFast}},
	{2 * time.Minute, "slow", origin.Mode{Service: scenarioSlow}},
	{4 * time.Minute, "fast", origin.Mode{Service: scenarioFast}},
	{5 * time.Minute, "down", origin.Mode{Down: true}},
	{8 * time.Minute, "fast", origin.Mode{Service: scenarioFast}},
}

// A Config says how the scenario is scaled. [Full] returns one, and
// [Config.Quick] a smaller one.
type Config struct {
	// Faster is by how much time is scaled: all times of the scenario are
	// divided by it.
	Faster int
	// Products is how many of the products there are, Callers how many
	// requests at a time for each of them and process, Nodes how many
	// processes.
	Products, Callers, Nodes int
	// Connections is how many queries the database runs at a time.
	Connections int
	// Only, if not nil, names the steps that are run.
	Only []string
	// Command is what repeats the run, for the report.
	Command string
	// Bar, if not nil, shows the progress.
	Bar *progress.Bar
}

// Full is the run behind docs/benchmarks.md.
func Full() Config {
	return Config{Faster: 20, Products: 10, Callers: 100, Nodes: 3, Connections: 100}
}

// Quick is less than a minute and a half of c.
func (c Config) Quick() Config {
	c.Faster, c.Products = 100, 2
	return c
}

// scaled is a time of the scenario as it is here.
func (c Config) scaled(d time.Duration) time.Duration { return d / time.Duration(c.Faster) }

// unscaled is a time measured here as it would be in the scenario.
func (c Config) unscaled(d time.Duration) time.Duration { return d * time.Duration(c.Faster) }

// rounds is how many rounds of requests there are.
func (c Config) rounds() int { return int(scenarioLength / scenarioEvery) }

// factor is what a number of queries is multiplied by for all products. Rounds
// and callers are as many as in the scenario, if Callers is 100.
func (c Config) factor() int64 { return scenarioProducts / int64(c.Products) }

// requests is how many requests there are in a step.
func (c Config) requests() int { return c.rounds() * c.Products * c.Callers * c.Nodes }

func (c Config) ids() (ids []string) {
	for i := range c.Products {
		ids = append(ids, "product-"+strconv.Itoa(i))
	}
	return ids
}

// startUp is about what a step takes beside the scenario, and clusterUp a
// cluster.
const (
	startUp   = time.Second
	clusterUp = 3 * time.Second
)

// Length is about how long the run takes, for [progress.New].
func (c Config) Length() time.Duration {
	return clusterUp + time.Duration(len(c.steps()))*c.stepLength()
}

func (c Config) stepLength() time.Duration { return startUp + c.scaled(scenarioLength) }

func (c Config) validate() error {
	switch {
	case c.Faster < 1 || c.scaled(scenarioEvery) < 20*time.Millisecond:
		return fmt.Errorf("steps: time is scaled by %d, rounds would be %v apart", c.Faster, c.scaled(scenarioEvery))
	case c.Products < 1 || scenarioProducts%c.Products != 0:
		return fmt.Errorf("steps: %d products do not divide %d", c.Products, scenarioProducts)
	case min(c.Callers, c.Nodes, c.Connections) < 1:
		return fmt.Errorf("steps: a number of callers, processes or connections is below 1")
	case len(c.steps()) == 0:
		return fmt.Errorf("steps: no such step in %q", c.Only)
	}
	return nil
}
