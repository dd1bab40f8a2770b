package subject

import "math/rand/v2"

// offset is where a goroutine of a parallel benchmark begins.
func offset(n int) int { return rand.IntN(n) }

// report keeps the first error of several goroutines.
func report(errs chan<- error, err error) {
	if err == nil {
		return
	}
	select {
	case errs <- err:
	default:
	}
}

func first(errs <-chan error) error {
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
