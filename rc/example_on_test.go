package rc_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rctest"
)

// UserRenamed is an event of the application.
type UserRenamed struct {
	ID   string
	Team string
}

func ExampleOn() {
	ctx := context.Background()
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
	// What an event invalidates is said in one place; who changes users need
	// not know what is cached of them.
	_, err = rc.On(m, func(e UserRenamed) []rc.Target {
		return []rc.Target{
			users.Target(e.ID),
			rc.TagTarget("team:" + e.Team).Soft(), // lists may be old if their load fails
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := users.Set(ctx, "42", "Ada"); err != nil {
		fmt.Println(err)
		return
	}
	if err := rc.Emit(ctx, m, UserRenamed{ID: "42", Team: "blue"}); err != nil {
		fmt.Println(err) // the invalidation is kept, and sent later
	}
	_, found, err := users.Get(ctx, "42")
	fmt.Println(found, err)
	// Output: false <nil>
}
