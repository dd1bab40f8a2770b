package rc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/fleetcache/fleetcache/rc"
	"github.com/fleetcache/fleetcache/rc/aescodec"
	"github.com/fleetcache/fleetcache/rc/zstdcodec"
	"github.com/fleetcache/fleetcache/rctest"
)

// Compress first, then encrypt: encrypted bytes do not compress.
func Example_zstdAES() {
	ctx := context.Background()
	srv := rctest.Start()
	defer srv.Close()
	m, err := srv.Open(ctx, rc.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)

	compressed := zstdcodec.New(rc.String{}, zstdcodec.Options{})
	keys := aescodec.Keyring{Primary: 1, Keys: map[uint32][]byte{1: secret}}
	codec, err := aescodec.New(compressed, keys)
	if err != nil {
		fmt.Println(err)
		return
	}
	letters, err := rc.New(m, "letters", rc.Config[string]{Codec: codec})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := strings.Repeat("Dear Ada, ", 1000)
	_ = letters.Set(ctx, "1", text)

	key, _ := letters.Key("1")
	c := m.Client()
	stored, _ := c.Do(ctx, c.B().Get().Key(key).Build()).AsBytes()
	fmt.Println("shorter:", len(stored) < len(text)/10)
	fmt.Println("readable:", bytes.Contains(stored, []byte("Ada")))
	// Output:
	// shorter: true
	// readable: false
}
