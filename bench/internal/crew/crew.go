//go:build unix

// Package crew runs copies of the running program as processes in a role: the
// instances of a service, and their database. Only for Unix.
package crew

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/fleetcache/fleetcache/internal/fleet/workers"
)

// roleEnv in the environment makes the program a process of a crew.
const roleEnv = "FLEETCACHE_BENCH_ROLE"

// patience is how long a process may take to end.
const patience = 10 * time.Second

// A Role makes what a process of that role is: what answers the calls of its
// parent, and what is called when the parent wants it to end.
type Role func() (serve workers.Serve, end func())

// Enter is called first by a main function. In a process that [Start] has
// begun it serves the parent and ends the program; otherwise it does nothing.
func Enter(roles map[string]Role) {
	name := os.Getenv(roleEnv)
	if name == "" {
		return
	}
	role := roles[name]
	if role == nil {
		fmt.Fprintf(os.Stderr, "crew: no role %q in this program\n", name)
		os.Exit(1)
	}
	serve, end := role()
	workers.NewLink(os.Stdout, serve).Read(os.Stdin)
	end()
	os.Exit(0)
}

// A Member is a process of a crew as its parent sees it.
type Member struct{ *workers.Process }

// Start begins a process in a role, which the program must pass to [Enter].
func Start(role, name string) (Member, error) {
	p, err := workers.Start(workers.Config{Name: name, Env: []string{roleEnv + "=" + role}})
	return Member{p}, err
}

// Call asks the process, and decodes its answer into out, which may be nil.
func (m Member) Call(ctx context.Context, op string, in, out any) error {
	if err := m.Link.Call(ctx, op, in, out); err != nil {
		return fmt.Errorf("%s of %s: %w", op, m.Name(), err)
	}
	return nil
}

// End ends the process.
func (m Member) End() error { return m.Close(patience) }

// All are the processes of one role.
type All []Member

// StartAll begins n processes.
func StartAll(role string, n int) (all All, err error) {
	for i := range n {
		m, err := Start(role, fmt.Sprintf("%s %d", role, i))
		if err != nil {
			return nil, errors.Join(err, all.End())
		}
		all = append(all, m)
	}
	return all, nil
}

// Each calls do for all processes at the same time, with their numbers.
func (a All) Each(do func(i int, m Member) error) error {
	errs := make(chan error, len(a))
	for i, m := range a {
		go func() { errs <- do(i, m) }() // ends with the call
	}
	var all []error
	for range a {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// End ends all processes.
func (a All) End() error {
	return a.Each(func(_ int, m Member) error { return m.End() })
}
