package main

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/fleetcache/fleetcache/rctest"
)

// listen lets other processes connect to the in-process Redis: it carries bytes
// between sockets of the loopback interface and its connections.
func listen(srv *rctest.Server) (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { carry(ctx, c, srv) }) // ends with either side, or ctx
		}
	})
	return "redis://" + l.Addr().String(), func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	}, nil
}

func carry(ctx context.Context, c net.Conn, srv *rctest.Server) {
	defer c.Close() //nolint:errcheck // both sides may have closed it
	s, err := srv.Dial(ctx)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close(); _ = s.Close() })
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(s, c)
		_ = s.Close()
	}()
	_, _ = io.Copy(c, s)
	_ = c.Close()
	<-done
}
