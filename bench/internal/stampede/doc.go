// Package stampede is the load test: several processes with many callers each
// read a few hot keys through a cache in front of a slow database, on a Redis
// Cluster. It measures what happens when values expire, after they were
// invalidated, and when a primary is killed, the same way for each contender:
// loads are what the database has seen, staleness what readers have got. Only
// for Unix.
package stampede
