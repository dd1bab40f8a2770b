package report

// What a ratio and a verdict of the run compare mean.
const ratioNote = "A ratio above 1 means that fleetcache is quicker."

// rivals are the rows of the load test that the README shows.
var rivals = []string{
	"fleetcache", "fleetcache+stale", "rueidisaside", "rueidis DoCache", "go-redis/cache", "go-redis+redsync",
	"rockscache", "gocache", "sturdyc+redis", "sturdyc+redis+stale", "otter",
}

// shown is what the README shows, in this order. A run that is not recorded and
// a row that a record does not have are left out, with a note.
var shown = []pick{
	{run: "compare", table: "hit", columns: []string{"time", "allocations", "ratio"}, note: ratioNote},
	{run: "compare", table: "redis", columns: []string{"time", "ratio"}, note: ratioNote},
	{run: "compare", table: "miss", columns: []string{"time", "ratio"}, note: ratioNote},
	{run: "compare", table: "many-redis-1000", columns: []string{"time", "ratio"}, note: ratioNote},
	{
		run: "stampede", table: "stampede-expiry", rows: rivals, columns: []string{"loads per expiry", "queries at a time, most", "p50 ms", "p99 ms"},
		note: "Several processes with many callers each, a database that takes its time, and values that expire.",
	},
	{
		run: "stampede", table: "stampede-stale", rows: rivals, columns: []string{"reads", "stale reads", "oldest ms"},
		note: "The same processes; reads that began after an invalidation had returned, and got what was there before.",
	},
	{
		run: "steps", table: "steps", columns: []string{"for 1,000 products", "errors, of 180,000 requests", "p99", "oldest"},
		note: "1,000 products on 3 instances, a database that is slow for two minutes and down for three: the scenario of FusionCache's documentation, executed and scaled.",
	},
	{run: "lock", table: "handover", columns: []string{"p50 µs", "p99 µs", "round trips", "commands"}, note: "Four processes, sixteen waiters each, one lock."},
}
