// Package rounds lets benchmarks take turns and compares them: in rounds, each
// in the opposite order of the one before, so that whatever else the machine
// does meets all of them.
package rounds
