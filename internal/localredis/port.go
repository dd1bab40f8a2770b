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
