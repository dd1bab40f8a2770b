// Package origin is the database behind the caches of the load tests: SQLite in
// a process of its own, reached over a unix socket, with a service time and a
// limit of connections. It keeps a log of its queries, by a clock that all
// processes of the machine share. Only for Unix.
package origin
