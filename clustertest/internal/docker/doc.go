// Package docker is the docker backend of clustertest: a
// [github.com/fleetcache/fleetcache/internal/redisnode.Maker] whose machines are
// containers, made with testcontainers-go.
//
// Each maker has one bridge network with a subnet of its own, on which every
// node has a static address. Nodes announce that address to each other, so it
// survives a kill and a start. This process reaches a node at a published port
// of the daemon's host, which docker chooses anew at every start.
//
// A node's directory is in the layer of its container: data and node ids survive
// a kill, and go with the container. A partition is a set of blackhole routes
// inside the network namespaces of the nodes. It cuts them from each other while
// published ports, whose traffic comes from the host, go on working.
//
// # What is left behind
//
// Nothing after Remove and Close. A process that is killed before leaves its
// containers and network behind. testcontainers' Ryuk removes them where it may
// run; besides, everything is labelled with its owner, and the first maker of
// the next process on the same host removes what belongs to dead owners.
package docker
