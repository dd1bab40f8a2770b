// Package instance is one instance of a service that uses the cache: a process
// of its own, which the parent runs, freezes and kills. It reads and writes the
// keys of a phase by every verb there is, judges each read by the board, and
// reports what it saw.
//
// It has no database: the parent is that. A commit and a load are calls to it.
package instance
