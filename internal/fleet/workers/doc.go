// Package workers runs copies of the own program as worker processes that can be
// called, frozen and killed, for tests of several instances of a service.
//
// A worker speaks with its parent over its standard input and output, in
// packets of JSON that a [Link] carries; either side may call the other. It ends
// when its input does, and on Linux also when the parent is killed while the
// worker is frozen. All processes share the clock of [Now]. Only for Unix.
package workers
