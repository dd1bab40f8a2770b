package deps
import (
_ "github.com/alicebob/miniredis/v2"
_ "github.com/klauspost/compress/zstd"
_ "github.com/maypok86/otter/v2"
_ "github.com/redis/rueidis"
_ "golang.org/x/sync/singleflight"
)
