package flight

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func value(v any) func(context.Context, *Call) (any, error) {
	return func(context.Context, *Call) (any, error) { return v, nil }
}

func TestManyCallersShareOneExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var runs, shared atomic.Int32
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				v, sh, err := g.Do(t.Context(), "k", func(context.Context, *Call) (any, error) {
					runs.Add(1)
					<-gate
					return 7, nil
				})
				if v != 7 || err != nil {
					t.Errorf("Do = %v, %v, want 7", v, err)
				}
				if sh {
					shared.Add(1)
				}
			})
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
		if runs.Load() != 1 || shared.Load() != 99 || g.Len() != 0 {
			t.Errorf("runs %d, shared %d, left %d, want 1, 99, 0", runs.Load(), shared.Load(), g.Len())
		}
	})
}

// Schedule: A leads, B follows, A's context ends, the function returns.
func TestEndOfTheFirstCallersContextIsNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		ctxA, cancelA := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "of A"))
		fn := func(ctx context.Context, _ *Call) (any, error) {
			<-gate
			return ctx.Value(ctxKey{}), ctx.Err()
		}
		errA := make(chan error, 1)
		go func() { _, _, err := g.Do(ctxA, "k", fn); errA <- err }()
		synctest.Wait()
		res := make(chan any, 1)
		go func() { v, _, _ := g.Do(t.Context(), "k", fn); res <- v }()
		synctest.Wait()
		cancelA()
		if err := <-errA; !errors.Is(err, context.Canceled) {
			t.Errorf("A got %v, want context.Canceled", err)
		}
		close(gate)
		if v := <-res; v != "of A" {
			t.Errorf("B got %v, want the value of A's context from an uncancelled call", v)
		}
	})
}

type ctxKey struct{}

func TestLastCallerToLeaveCancelsTheCallUnlessItFinishes(t *testing.T) {
	for _, finish := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			ended := make(chan error, 1)
			gate := make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			fn := func(ctx context.Context, c *Call) (any, error) {
				if finish {
					c.Finish()
				}
				select {
				case <-gate:
				case <-ctx.Done():
				}
				ended <- context.Cause(ctx)
				return nil, nil
			}
			done := make(chan struct{})
			go func() { g.Do(ctx, "k", fn); close(done) }()
			synctest.Wait()
			cancel()
			<-done
			if !finish {
				if err := <-ended; !errors.Is(err, errAbandoned) {
					t.Errorf("cause = %v, want %v", err, errAbandoned)
				}
				// A caller that comes now does not get the abandoned call's end.
				if v, shared, err := g.Do(t.Context(), "k", value(1)); v != 1 || shared || err != nil {
					t.Errorf("Do after = %v, %v, %v, want 1, false, nil", v, shared, err)
				}
				return
			}
			synctest.Wait()
			close(gate)
			if err := <-ended; err != nil {
				t.Errorf("cause = %v, want none: the call finishes", err)
			}
		})
	}
}

func TestForgottenAndUnjoinableCallsAreLeftToTheirCallers(t *testing.T) {
	for name, stop := range map[string]func(*Group, *Call, *atomic.Bool){
		"forgotten":    func(g *Group, _ *Call, _ *atomic.Bool) { g.Forget("k") },
		"not joinable": func(_ *Group, _ *Call, no *atomic.Bool) { no.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g Group
				var no atomic.Bool
				gate := make(chan struct{})
				call := make(chan *Call, 1)
				first := make(chan any, 1)
				go func() {
					v, _, _ := g.Do(t.Context(), "k", func(_ context.Context, c *Call) (any, error) {
						c.Joinable(func() bool { return !no.Load() })
						call <- c
						<-gate
						return "old", nil
					})
					first <- v
				}()
				c := <-call
				stop(&g, c, &no)
				if v, shared, _ := g.Do(t.Context(), "k", value("new")); v != "new" || shared {
					t.Errorf("later caller got %v (shared %v), want a call of its own", v, shared)
				}
				if !c.Detached() {
					t.Error("Detached = false")
				}
				close(gate)
				if v := <-first; v != "old" {
					t.Errorf("first caller got %v, want its own result", v)
				}
			})
		})
	}
}

func TestPanicReachesEveryCallerWithTheStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				defer func() {
					p, ok := recover().(*PanicError)
					if !ok || p.Value != "boom" || !strings.Contains(string(p.Stack), "explode") {
						t.Errorf("recovered %v, want a PanicError of explode", p)
					}
				}()
				g.Do(t.Context(), "k", func(context.Context, *Call) (any, error) { <-gate; explode(); return nil, nil })
			})
		}
		synctest.Wait()
		close(gate)
		wg.Wait()
	})
}

func explode() { panic("boom") }

func TestGoexitEndsTheFlight(t *testing.T) {
	var g Group
	_, _, err := g.Do(t.Context(), "k", func(context.Context, *Call) (any, error) { runtime.Goexit(); return nil, nil })
	if !errors.Is(err, ErrGoexit) {
		t.Errorf("err = %v, want ErrGoexit", err)
	}
	if v, _, err := g.Do(t.Context(), "k", value(2)); v != 2 || err != nil {
		t.Errorf("next Do = %v, %v, want 2", v, err)
	}
}

func TestResultBeatsAContextThatEndedMeanwhile(t *testing.T) {
	var g Group
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		started := make(chan struct{})
		go func() { <-started; cancel() }()
		v, _, err := g.Do(ctx, "k", func(context.Context, *Call) (any, error) { close(started); return 1, nil })
		if err == nil && v != 1 || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("Do = %v, %v", v, err)
		}
	}
}

func TestStartRunsInTheBackgroundOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		gate := make(chan struct{})
		out := make(chan any, 1)
		fn := func(context.Context, *Call) (any, error) { <-gate; return 5, nil }
		if !g.Start(t.Context(), "k", fn, func(v any, _ error) { out <- v }) {
			t.Fatal("Start = false for a new key")
		}
		if g.Start(t.Context(), "k", fn, nil) {
			t.Error("Start = true while a call runs")
		}
		synctest.Wait()
		close(gate)
		if v := <-out; v != 5 {
			t.Errorf("done got %v, want 5", v)
		}
	})
}

func TestCloseCancelsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var ended atomic.Bool
		fn := func(ctx context.Context, c *Call) (any, error) {
			c.Finish()
			<-ctx.Done()
			ended.Store(true)
			return nil, context.Cause(ctx)
		}
		errs := make(chan error, 1)
		go func() { _, _, err := g.Do(t.Context(), "k", fn); errs <- err }()
		synctest.Wait()
		g.Forget("k") // Close must also find calls that cannot be joined
		g.Close()
		if !ended.Load() {
			t.Error("Close returned before the call ended")
		}
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("caller got %v, want %v", err, ErrClosed)
		}
		if _, _, err := g.Do(t.Context(), "k", fn); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close = %v, want %v", err, ErrClosed)
		}
	})
}

func TestStress(t *testing.T) {
	var g Group
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%7 == 0 {
					cancel()
				}
				if i%5 == 0 {
					g.Forget("k")
				}
				g.Do(ctx, "k", func(context.Context, *Call) (any, error) { runtime.Gosched(); return i, nil })
				cancel()
			}
		})
	}
	wg.Wait()
	g.Close()
	if g.Len() != 0 || len(g.running) != 0 {
		t.Errorf("left: %d joinable, %d running", g.Len(), len(g.running))
	}
}
