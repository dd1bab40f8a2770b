// Package scaling measures how what fleetcache costs grows: with instances of a
// service, with keys, with the size of values, with shards, and with tags.
//
// Sizes take turns, in rounds, each round in the opposite order of the one
// before. What is said in words is computed from the medians.
package scaling
