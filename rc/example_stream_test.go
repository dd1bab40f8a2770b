package rc_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

func ExampleManager_Consume() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := rc.New(m, "users", rc.Config[string]{TTL: time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	applied := make(chan string, 10)
	_, err = rc.On(m, func(e UserRenamed) []rc.Target {
		applied <- e.ID
		return []rc.Target{users.Target(e.ID)}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error)
	go func() { done <- m.Consume(ctx, rc.Stream{Name: "users-events", Group: "users-cache"}) }()

	// A Go program appends like this, one in any language with
	// XADD users-events MAXLEN ~ 100000 * type UserRenamed data '{"ID":"42"}'.
	if _, err := rc.AppendEvent(ctx, m, "users-events", UserRenamed{ID: "42"}); err != nil {
		fmt.Println(err) // append it again: twice does no harm
	}
	fmt.Println(<-applied)
	cancel()
	fmt.Println(errors.Is(<-done, context.Canceled), m.EventStats().Acked)
	// Output:
	// 42
	// true 1
}
