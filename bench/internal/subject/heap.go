package subject

import "runtime"

// Heap returns the bytes of live objects.
func Heap() uint64 {
	// Twice: what has a finalizer or a cleanup is only free after the second.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
