// Package sharedexample has a test that is an example of clustertest's README:
// a cluster that all tests of a package share.
package sharedexample
