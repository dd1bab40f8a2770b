//go:build unix

package suite

import "github.com/fleetcache/fleetcache/internal/mutate/mutants"

// ours are mechanisms of tags, namespaces and the bus that the checker must
// notice the lack of. They are here and not in the table of package mutants
// because no other test has to see them. Names of both can be given as Config.Mutant.
var ours = []mutants.Mutant{
	{
		Name: "tokens-never-compared", File: "rc/vouch.go",
		Old: "func (v *verdict) compare(stored lease.Token, t *token) {",
		New: "func (v *verdict) compare(stored lease.Token, t *token) {\n\tstored = t.value",
	},
	{
		Name: "tokens-never-doubted", File: "rc/tokens.go",
		Old: "return t != nil && t.entry != nil && ts.m.table.FreshAt(t.entry, now)",
		New: "return t != nil && t.entry != nil",
	},
	{
		Name: "guard-never-asked", File: "rc/vouch.go",
		Old: "if cp.guards == nil {\n\t\treturn errTagMoved\n\t}",
		New: "if true {\n\t\treturn nil\n\t}",
	},
	{
		Name: "namespace-read-after-the-load", File: "rc/vouch.go",
		Old: "s.ns, s.deps = ns.value, ns.alone\n\tif len(tags) == 0 {\n\t\treturn s, nil\n\t}\n\tlate",
		New: "if now := c.namespace(ctx, c.nsGroup(rk), c.life()); now.err == nil {\n\t\tns = now\n\t}\n\ts.ns, s.deps = ns.value, ns.alone\n\tif len(tags) == 0 {\n\t\treturn s, nil\n\t}\n\tlate",
	},
	{
		Name: "nothing-sent-again", File: "rc/recent.go",
		Old: "if match(key) {", New: "if match(key) && false {",
	},
	{
		Name: "gaps-ignored", File: "rc/broadcast.go",
		Old: "t.Gap(e.Partition)", New: "",
	},
}

func findMutant(name string) (mutants.Mutant, error) {
	for _, m := range ours {
		if m.Name == name {
			return m, nil
		}
	}
	return mutants.Find(name)
}
