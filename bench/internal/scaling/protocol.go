package scaling

// The calls that an instance answers.
const (
	opOpen       = "open"       // openArgs
	opClose      = "close"      // ends the Manager
	opSet        = "set"        // setArgs
	opHold       = "hold"       // valueArgs
	opWatch      = "watch"      // valueArgs
	opGone       = "gone"       // returns seen
	opInvalidate = "invalidate" // invalidateArgs, returns span
	opPushes     = "pushes"     // returns uint64
	opMix        = "mix"        // mixArgs, returns mixed
	opExpire     = "expire"     // expireArgs, returns expired
)

type openArgs struct{ Addr string }

// setArgs name values that one instance stores, with a tag of its own each.
type setArgs struct {
	IDs []string
	N   int64 // the number of the product
	TTL int64 // ns; 0 for that of the service
}

// valueArgs name values that an instance gets into memory, or sees vanish.
type valueArgs struct {
	IDs []string
	N   int64
}

// seen is when the last value was seen to be gone; all times are of the clock
// that processes share.
type seen struct{ At int64 }

// invalidateArgs say how values are made invalid, one after the other.
type invalidateArgs struct {
	Verb string // verbDelete or verbTag
	IDs  []string
}

const (
	verbDelete = "Delete"
	verbTag    = "InvalidateTag"
)

// tagOf is the tag of a value.
func tagOf(id string) string { return "of:" + id }

type span struct{ Began, Ended int64 }

// mixArgs say what requests an instance makes.
type mixArgs struct {
	Seed     uint64
	Requests int
	Keys     int     // of which they are
	Writes   float64 // the share that are Delete
	Warm     bool    // reads each key once before
}

// mixed is what came of them.
type mixed struct {
	Reads, Writes  int
	L1, L2, Misses uint64
	Began, Ended   int64
	CPU            float64 // µs of the process
	Resident       float64 // bytes of the process, the most so far
}

// expireArgs say when callers ask for values, the time of which has ended.
type expireArgs struct {
	ID      string
	N       int64 // of the value that has ended
	At      int64
	Callers int
	Load    int64 // how long a load takes, in ns
}

// expired is what came of it.
type expired struct {
	Loads   int
	Slowest int64 // ns
}
