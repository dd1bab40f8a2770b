package rounds

import "errors"

// Closers collects what has to be ended when a table is done.
type Closers []func() error

// Add adds what has to be ended.
func (c *Closers) Add(f func() error) { *c = append(*c, f) }

// End closes in the opposite order, and adds what fails to an error.
func (c Closers) End(err error) error {
	for i := len(c) - 1; i >= 0; i-- {
		err = errors.Join(err, c[i]())
	}
	return err
}

// Quiet is a function that cannot fail, for [Closers.Add].
func Quiet(f func()) func() error {
	return func() error { f(); return nil }
}
