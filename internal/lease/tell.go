package lease

import "context"

// A Change is a key that this process has changed.
type Change struct {
	Key string
	// ID is that of the near entry the change itself made, 0 if none.
	ID uint64
}

// A Teller tells all processes, this one included, of changes: where the
// servers do not. Its methods are safe for concurrent use.
type Teller interface {
	// Tell returns the error of each change, nil if it has no more to say, as
	// soon as all were told or failed.
	Tell(ctx context.Context, changes []Change) []error
	// TellLater does not block. It is for changes that nobody has to be told
	// of for the sake of what they read: a value filled in where there was
	// none, a claim given back.
	TellLater(changes ...Change)
}

func (c *Client) tell(ctx context.Context, ch Change) error {
	if c.teller == nil {
		return nil
	}
	return c.teller.Tell(ctx, []Change{ch})[0]
}

func (c *Client) tellLater(changes ...Change) {
	if c.teller != nil {
		c.teller.TellLater(changes...)
	}
}

// tellMany tells of those of n changes that have no error, and adds the errors
// of telling.
func (c *Client) tellMany(ctx context.Context, n int, change func(i int) (Change, *error)) {
	if c.teller == nil {
		return
	}
	var changes []Change
	var errs []*error
	for i := range n {
		if ch, err := change(i); *err == nil {
			changes, errs = append(changes, ch), append(errs, err)
		}
	}
	if len(changes) == 0 {
		return
	}
	for i, err := range c.teller.Tell(ctx, changes) {
		if err != nil {
			*errs[i] = err
		}
	}
}

// tellMarks tells of tokens, and first of their guards.
func (c *Client) tellMarks(ctx context.Context, marks []Mark, errs []error) {
	c.tellMany(ctx, 2*len(marks), func(i int) (Change, *error) {
		m := marks[i/2]
		if i%2 == 0 && m.Guard != "" {
			return Change{Key: m.Guard}, &errs[i/2]
		}
		return Change{Key: m.Key}, &errs[i/2]
	})
}

// change is the change that made a value.
func (v Value) change(key string) Change {
	ch := Change{Key: key}
	if v.Entry != nil {
		ch.ID = v.Entry.ID()
	}
	return ch
}
