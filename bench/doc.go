// Package bench measures fleetcache against its peers, side by side in one
// run. See cmd/hit for the program that sums it up.
package bench
