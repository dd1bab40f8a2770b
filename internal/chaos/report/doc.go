// Package report writes what a run of the chaos suite came to: a JSON file per
// backend and server, a page made from all of them, and a plot of the run.
package report
