// Package suite runs the chaos suite: it owns the database and the cluster, runs
// the instances, does to all of them what a phase says, and collects the facts.
// It judges nothing.
//
// A phase begins with a cluster as it was formed, new keys and new Managers in
// every instance. When everything works, something is done to it; then it is
// healed, and the phase goes on until every instance reads what is current
// again, and for somewhat more than the bound on staleness after that, so that
// what was kept too long shows.
package suite
