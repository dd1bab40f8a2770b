// Package successor makes connections that follow one another behave like one:
// a connection is not used before the server has ended those to it that this
// client has given up.
//
// A client that gives a connection up does not know what becomes of the bytes
// it has sent. They may lie in the socket of a server that is frozen, or in the
// network behind a fault, and be executed when the fault is over: after the
// commands of the next connection. A write that arrives that late brings an old
// value back. So before the next connection is handed out, one of its own asks
// the server to end the old ones (CLIENT KILL ID), by the ids that the server
// gave them in its reply to HELLO. What had arrived by then came before
// everything the new connection will send, and the rest never arrives.
//
// It costs a second connection and three commands when a connection was lost,
// and nothing else. A server that does not allow the commands (an ACL without
// client|kill) is used all the same, and counted.
package successor
