// Package report makes docs/benchmarks.md, its plots and the table in README.md
// from the records that the programs of this module have left.
package report
