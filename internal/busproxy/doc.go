// Package busproxy cuts the links between the nodes of a Redis Cluster on one
// machine, pair by pair and without root, for tests of partitions.
//
// Each node has a proxy in front of its cluster bus port and announces the
// proxy's port instead of its own ("cluster-announce-bus-port"), so every link
// between two nodes runs through the proxy of the one that accepted it. A
// connection's target is the node behind the proxy. Its origin is in the first
// packet: every message of the cluster bus carries the id of its sender, also
// MEET, with which nodes that do not know each other begin. A link has pings
// in one direction and their answers in the other, and two nodes have a link
// each way; [Switch.Cut] closes both.
//
// Only the cluster bus is cut. Replication and clients use the client port,
// which no proxy is in front of.
//
// While a cut is in force, a link is refused unless both of its ends are known
// ([Proxy.SetID]) and on the same side. A node whose id nobody has told the
// switch is thereby cut off from all others, which is the safe reading: a link
// that might cross the cut would undo it. For the same reason the id must be
// told again after CLUSTER RESET HARD, which changes it. Without a cut, whoever
// connects is let through. A bus under TLS ("tls-cluster yes") names no sender
// that a proxy could read, so a cut closes all of its links.
//
// Being refused looks to a node like a peer that accepts connections and closes
// them at once. It tries again ten times a second, which is why healing takes
// about a tenth of a second, and marks the peer as failing after its
// cluster-node-timeout as if nothing had answered.
package busproxy
