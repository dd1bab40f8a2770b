package rc_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// The lines between the two marks are the program of README.md; a test of the
// root package compares them.

// readme: begin

type User struct{ Name string }

func printUser(ctx context.Context, url, id string, query func(context.Context, string) (User, error)) error {
	m, err := rc.Open(ctx, url, rc.Options{}) // one per process
	if err != nil {
		return err
	}
	defer m.Close()
	users, err := rc.New(m, "users", rc.Config[User]{TTL: 10 * time.Minute, StaleFor: time.Hour})
	if err != nil {
		return err
	}
	u, err := users.GetOrSet(ctx, id, func(ctx context.Context) (User, error) {
		return query(ctx, id) // rc.ErrNotFound is remembered, too
	})
	if err != nil {
		return err
	}
	fmt.Println(u.Name)
	return users.Delete(ctx, id) // after each change at the source
}

// readme: end

func Example_readme() {
	srv := rctest.Start()
	url, stop := listen(srv)
	query := func(context.Context, string) (User, error) { return User{Name: "Ada"}, nil }
	if err := printUser(context.Background(), url, "42", query); err != nil {
		fmt.Println(err)
	}
	srv.Close()
	stop()
	// Output: Ada
}

// listen makes the in-process Redis reachable by a URL, as a real one is.
func listen(srv *rctest.Server) (url string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := srv.Dial(context.Background())
			if err != nil {
				c.Close()
				continue
			}
			wg.Go(func() { pipe(c, s) }) // each ends when either side closes
			wg.Go(func() { pipe(s, c) })
		}
	})
	return "redis://" + l.Addr().String(), func() { l.Close(); wg.Wait() }
}

func pipe(dst, src net.Conn) {
	_, _ = io.Copy(dst, src) // an error is the end of the connection
	dst.Close()
	src.Close()
}
