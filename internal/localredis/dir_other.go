//go:build !linux

package localredis

import "os"

func tempBase() string { return os.TempDir() }

// tryLock never finds a lock free, so that nothing is swept: servers outlive a
// killed owner here, and still use their directories.
func tryLock(*os.File) (free bool, err error) { return false, nil }
