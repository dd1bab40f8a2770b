// Package progress shows how far a long program is: a line that moves on a
// terminal, a line for each part elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// every is how often the line on a terminal is drawn.
const every = 200 * time.Millisecond

// A Bar shows the progress of a program whose parts have known lengths. A nil
// Bar shows nothing. It is for one goroutine.
type Bar struct {
	w           io.Writer
	tty         bool
	total, done time.Duration
}

// New returns a bar that is drawn on f, for parts that take total together.
func New(f *os.File, total time.Duration) *Bar {
	info, err := f.Stat()
	tty := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	return &Bar{w: f, tty: tty, total: total}
}

// During shows that a part runs that takes d, for as long as f does.
func (b *Bar) During(what string, d time.Duration, f func() error) error {
	if b == nil {
		return f()
	}
	if !b.tty {
		fmt.Fprintf(b.w, "%3.0f%% %s\n", b.percent(0), what)
		err := f()
		b.done += d
		return err
	}
	stop := make(chan struct{})
	var drawn sync.WaitGroup
	drawn.Go(func() { b.draw(what, d, stop) }) // until f has returned
	err := f()
	close(stop)
	drawn.Wait()
	b.done += d
	return err
}

func (b *Bar) draw(what string, d time.Duration, stop <-chan struct{}) {
	began := time.Now()
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		fmt.Fprint(b.w, b.line(what, min(time.Since(began), d)))
		select {
		case <-t.C:
		case <-stop:
			return
		}
	}
}

// line is the line when a part has run for some time.
func (b *Bar) line(what string, ran time.Duration) string {
	const width = 30
	p := b.percent(ran)
	full := int(p * width / 100)
	left := max(b.total-b.done-ran, 0).Round(time.Second)
	return fmt.Sprintf("\r\x1b[K[%s%s] %3.0f%% %v left  %s",
		strings.Repeat("#", full), strings.Repeat(".", width-full), p, left, what)
}

// percent is how much is done when a part has run for some time.
func (b *Bar) percent(ran time.Duration) float64 {
	if b.total <= 0 {
		return 100
	}
	return 100 * min(1, float64(b.done+ran)/float64(b.total))
}

// End removes the line.
func (b *Bar) End() {
	if b != nil && b.tty {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
