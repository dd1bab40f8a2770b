// Package key builds the Redis keys of cached values, and the glob patterns
// that match them.
//
// A key is
//
//	<prefix>:<version>:<namespace>:{<identifier>}
//	<prefix>:<version>:<namespace>:{<identifier>%P<hash of the parameters>}
//
// The hash is 32 lower-case hex digits. What is between the braces is the hash
// tag: it alone decides the cluster slot, so a key with a suffix behind the
// braces, as the lease has, lives in the slot of the value.
//
// Two different (namespace, identifier, parameters) never build the same key.
// Identifiers are arbitrary bytes; for that promise a few are stored in another
// form:
//
//   - "{", "}" and "%" become "%7B", "%7D" and "%25". So no byte of an identifier
//     can be taken for the "%P" in front of the hash.
//   - An identifier of more than 512 bytes becomes "%L" and its SHA-256 in hex.
//     No other identifier is stored with a "%L".
package key
