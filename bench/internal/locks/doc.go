// Package locks measures the locks of package lock beside those of others: what
// an uncontended lock costs, and how long it takes to pass one on to a waiter.
package locks
