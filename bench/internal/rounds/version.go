package rounds

import "runtime/debug"

// Version returns the version of a peer this program was built with.
func Version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/"+path || d.Path == "github.com/redis/"+path {
			return d.Version
		}
	}
	return "?"
}
