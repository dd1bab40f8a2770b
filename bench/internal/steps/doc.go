// Package steps executes the scenario that the documentation of FusionCache
// calculates step by step (docs/StepByStep.md there): a service of three
// processes that reads a thousand products from a database which is slow for
// some minutes and down for others, with one feature more in each step. It runs
// in scaled time, on processes and a Redis Cluster that are real, with a
// database that counts. Only for Unix.
package steps
