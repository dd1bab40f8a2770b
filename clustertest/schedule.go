package clustertest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Role is what a node is to its shard.
type Role string

const (
	Primary Role = "primary"
	Replica Role = "replica"
)

// Step is one fault of a [Schedule]. It names its target by what it is at that
// time, not by node: shard 2's primary, whoever that is then.
type Step struct {
	// At is when the fault begins, counted from the start of the schedule.
	At time.Duration

	// Fault is the name of the [Fault].
	Fault string

	// Shard is the number of the shard, from 0 to Primaries-1: the node that
	// has the first slot which the shard was given when the cluster was formed.
	Shard int

	// Role is the role of the target within the shard.
	Role Role

	// Lasts is the time between the begin of the fault and its end.
	Lasts time.Duration
}

// String returns the step in one line, which [ParseSchedule] reads.
func (s Step) String() string {
	return fmt.Sprintf("+%s %s shard=%d role=%s lasts=%s", s.At, word(s.Fault), s.Shard, word(string(s.Role)), s.Lasts)
}

// Schedule is a sequence of faults, ordered by time. [Chaos] draws one from a
// seed; it can as well be written by hand or read by [ParseSchedule].
type Schedule struct {
	// Seed is what the schedule was drawn from; 0 if it was not.
	Seed uint64

	// Concurrent lets steps overlap; see [ChaosConfig].
	Concurrent bool

	// BreakQuorum lets disruptive steps overlap; see [ChaosConfig].
	BreakQuorum bool

	// Steps are the faults in the order in which they begin.
	Steps []Step
}

// Equal reports whether both schedules do the same.
func (s Schedule) Equal(o Schedule) bool {
	return s.Seed == o.Seed && s.Concurrent == o.Concurrent && s.BreakQuorum == o.BreakQuorum &&
		slices.Equal(s.Steps, o.Steps)
}

// String returns the whole schedule: a line about it, and one line for each
// step. [ParseSchedule] turns it back into an equal schedule.
func (s Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed=%d concurrent=%t break-quorum=%t\n", s.Seed, s.Concurrent, s.BreakQuorum)
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// word returns s as it is if it is a plain word, otherwise quoted.
func word(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	})
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// ParseSchedule reads what [Schedule.String] has written. Blank lines and
// blanks around lines do not matter. Steps must be in the order of their times.
func ParseSchedule(text string) (Schedule, error) {
	var s Schedule
	headed := false
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var err error
		if !headed {
			headed = true
			err = s.parseHead(line)
		} else {
			err = s.parseStep(line)
		}
		if err != nil {
			return Schedule{}, fmt.Errorf("clustertest: schedule, line %d: %w", number, err)
		}
	}
	if !headed {
		return Schedule{}, errors.New("clustertest: schedule is empty, want a line \"seed=1 concurrent=false break-quorum=false\"")
	}
	return s, nil
}

func (s *Schedule) parseHead(line string) (err error) {
	p := stepParser{rest: line}
	if s.Seed, err = strconv.ParseUint(p.field("seed"), 10, 64); p.err == nil && err != nil {
		return err
	}
	s.Concurrent = p.boolean("concurrent")
	s.BreakQuorum = p.boolean("break-quorum")
	return p.end()
}

func (s *Schedule) parseStep(line string) error {
	p := stepParser{rest: line}
	step := Step{
		At:    p.duration(strings.TrimPrefix(p.word(), "+")),
		Fault: p.word(),
		Shard: p.integer("shard"),
		Role:  Role(p.field("role")),
		Lasts: p.duration(p.field("lasts")),
	}
	if err := p.end(); err != nil {
		return err
	}
	switch {
	case step.At < 0 || step.Lasts < 0 || step.Shard < 0:
		return fmt.Errorf("negative number in %q", line)
	case step.Fault == "":
		return fmt.Errorf("no fault in %q", line)
	case len(s.Steps) > 0 && step.At < s.Steps[len(s.Steps)-1].At:
		return fmt.Errorf("step at %s after one at %s", step.At, s.Steps[len(s.Steps)-1].At)
	}
	s.Steps = append(s.Steps, step)
	return nil
}

// stepParser takes one line apart from the left. The first error stays.
type stepParser struct {
	rest string
	err  error
}

func (p *stepParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// word takes a plain or quoted word and the blanks after it.
func (p *stepParser) word() string {
	if strings.HasPrefix(p.rest, `"`) {
		quoted, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			p.fail(fmt.Errorf("bad quotes at %q", p.rest))
			return ""
		}
		p.rest = strings.TrimLeft(p.rest[len(quoted):], " \t")
		text, err := strconv.Unquote(quoted)
		if err != nil {
			p.fail(fmt.Errorf("bad quotes in %s", quoted))
		}
		return text
	}
	text, rest, _ := strings.Cut(p.rest, " ")
	p.rest = strings.TrimLeft(rest, " \t")
	return text
}

// field takes "name=word" and returns the word.
func (p *stepParser) field(name string) string {
	rest, ok := strings.CutPrefix(p.rest, name+"=")
	if !ok {
		p.fail(fmt.Errorf("want %s=… at %q", name, p.rest))
		return ""
	}
	p.rest = rest
	return p.word()
}

func (p *stepParser) integer(name string) int {
	n, err := strconv.Atoi(p.field(name))
	if err != nil {
		p.fail(fmt.Errorf("%s: %w", name, err))
	}
	return n
}

func (p *stepParser) boolean(name string) bool {
	v, err := strconv.ParseBool(p.field(name))
	if err != nil {
		p.fail(fmt.Errorf("%s: %w", name, err))
	}
	return v
}

func (p *stepParser) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		p.fail(err)
	}
	return d
}

func (p *stepParser) end() error {
	if p.err == nil && p.rest != "" {
		p.fail(fmt.Errorf("%q is too much", p.rest))
	}
	return p.err
}
