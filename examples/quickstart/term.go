package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A screen is where the show is seen. On a terminal it has colors and a line
// that moves; anywhere else it is plain text. It is for one goroutine.
type screen struct {
	w   io.Writer
	tty bool
}

// isTerminal reports whether f is a terminal that wants more than plain text.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 &&
		os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
}

const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	reset = "\x1b[0m"
	clear = "\r\x1b[K"
)

func (s *screen) styled(style, text string) string {
	if !s.tty {
		return text
	}
	return style + text + reset
}

// line prints a line of plain text.
func (s *screen) line(format string, args ...any) { fmt.Fprintf(s.w, format+"\n", args...) }

// title prints the title of an act, and what happens in it.
func (s *screen) title(number int, name, format string, args ...any) {
	s.line("\n%s  %s", s.styled(bold, fmt.Sprintf("%d  %-13s", number, name)), fmt.Sprintf(format, args...))
}

const indent = "   "

// fact prints something that was seen.
func (s *screen) fact(format string, args ...any) {
	s.line(indent+"%s", fmt.Sprintf(format, args...))
}

// verdict prints whether a claim held.
func (s *screen) verdict(held bool, claim string) {
	if held {
		s.line(indent+"%s  %s", s.styled(green, "ok"), claim)
		return
	}
	s.line(indent+"%s  %s", s.styled(bold+red, "FAILED"), claim)
}

// live shows a line that the next output replaces; nothing but on a terminal.
func (s *screen) live(format string, args ...any) {
	if s.tty {
		fmt.Fprint(s.w, clear+indent+s.styled(dim, fmt.Sprintf(format, args...)))
	}
}

// quiet removes the line of live.
func (s *screen) quiet() {
	if s.tty {
		fmt.Fprint(s.w, clear)
	}
}

// count formats a number with commas: 12,345.
func count[N int | int64 | uint64](n N) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && digits[i-1] != '-' && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// plural is count with a noun: 1 query, 2 queries.
func plural[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// brief formats a duration with two or three digits: 1.24s, 35ms, 180µs.
func brief(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
