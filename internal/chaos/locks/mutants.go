//go:build unix

package locks

import (
	"fmt"

	"github.com/fleetcache/fleetcache/internal/mutate/mutants"
)

// ours break what exclusion rests on. The judge must notice each.
var ours = []mutants.Mutant{
	{
		Name: "one-vote-decides", File: "lock/redlock.go",
		Old: "return redsync.New(pools...)",
		New: "if op == opAcquire {\n\t\tpools = pools[rand.IntN(len(pools)):][:1]\n\t}\n\treturn redsync.New(pools...)",
	},
	{
		Name: "nobody-abstains", File: "lock/scripts/vote.lua",
		Old: "if now < silent and not back then", New: "if false then",
	},
	{
		Name: "tokens-without-the-clock", File: "lock/scripts/handover.lua",
		Old: "math.max(last + 1, time)", New: "last + 1",
	},
}

func findMutant(name string) (mutants.Mutant, error) {
	for _, m := range ours {
		if m.Name == name {
			return m, nil
		}
	}
	return mutants.Mutant{}, fmt.Errorf("chaos: no mutant of locks has the name %q", name)
}
