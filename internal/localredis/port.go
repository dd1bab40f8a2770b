package localredis

// reservation is a TCP port of 127.0.0.1 that nobody else should be given while
// it is held. The server listens on it although it is held.
type reservation struct {
	port    int
	release func()
}

func (r *reservation) free() {
	if r != nil && r.release != nil {
		r.release()
		r.release = nil
	}
}

// ReservePort returns a TCP port of 127.0.0.1 that nobody else is given during
// the test, and on which nobody listens but a server that is told to: on Linux.
// Elsewhere it is only free for now.
func ReservePort(tb TB) (int, error) {
	r, err := reservePort()
	if err != nil {
		return 0, err
	}
	tb.Cleanup(r.free)
	return r.port, nil
}
