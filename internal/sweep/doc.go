// Package sweep deletes the keys that match a pattern: all of them that existed
// before the call, also while the deployment changes under it.
//
// # How
//
// A pass looks at every node, sends SCAN to all primaries side by side, deletes
// what it finds with UNLINK in pipelines, and looks again. SCAN returns each key
// that stays on a node for as long as the iteration takes. A key can only be
// missed if it arrives at a node that has been scanned, so each slot counts as
// swept if its owner was the same process from the look before to the look
// behind, and nothing came to it from elsewhere. The other slots are swept
// again, by CLUSTER GETKEYSINSLOT if they are few, until there are none. A slot
// that is open, because it is being migrated, is swept at its owner first and
// then at the node it goes to: keys move in that direction only. It need not be
// closed, so a migration that was given up halfway does not matter.
//
// Keys can be made while a sweep is under way, by somebody whose right to do so
// is older than the sweep and is a key itself. Options.First is for those keys:
// in each slot they are swept before the others.
//
// # What is seen between two looks
//
// Nodes are looked at about ten times a second while they are swept. A slot
// that leaves and comes back between two looks raises the config epoch of its
// owner, and keys that were moved and moved back are counted by the server
// (cmdstat_restore-asking of INFO). Either makes all slots of that node swept
// again. The limit: this does not see a slot that goes and comes back, both
// between two looks, while the same node is being given another slot.
//
// A server that was restarted, or a replica that took over, is another process:
// its slots are scanned from the start, because a cursor means nothing to it.
//
// # What is not promised
//
// Keys written after the call began may be deleted or not. Replication is
// asynchronous: a replica that takes over after Sweep has returned can bring
// back keys whose deletion had not reached it.
//
// # Permissions
//
// SCAN, UNLINK, EXISTS, INFO, and in a cluster CLUSTER NODES, CLUSTER
// COUNTKEYSINSLOT and CLUSTER GETKEYSINSLOT. Without INFO restarts, and keys
// that were moved and moved back, are not noticed.
package sweep
