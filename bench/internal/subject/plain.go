package subject

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/redis/rueidis"
)

// A Plain is rueidis without a cache: GET and a decode.
type Plain struct{ client rueidis.Client }

// OpenPlain connects to a server. onePipe makes the client use one connection
// per node, as fleetcache has to; otherwise it has the defaults of rueidis.
func OpenPlain(addr string, onePipe bool) (*Plain, error) {
	opt := rueidis.ClientOption{InitAddress: []string{addr}}
	if onePipe {
		opt.PipelineMultiplex, opt.AlwaysPipelining = -1, true
	}
	c, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, err
	}
	return &Plain{client: c}, nil
}

// Close ends the client.
func (p *Plain) Close() { p.client.Close() }

func plainKey(id string) string { return "plain:products:{" + id + "}" }

// Fill stores the products of ids as JSON.
func (p *Plain) Fill(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		n := min(512, len(ids))
		cmds := make([]rueidis.Completed, n)
		for i, id := range ids[:n] {
			b, err := json.Marshal(NewProduct(int64(i)))
			if err != nil {
				return err
			}
			cmds[i] = p.client.B().Set().Key(plainKey(id)).Value(rueidis.BinaryString(b)).Ex(TTL).Build()
		}
		for _, r := range p.client.DoMulti(ctx, cmds...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		ids = ids[n:]
	}
	return nil
}

func (p *Plain) get(ctx context.Context, id string) (v Product, err error) {
	b, err := p.client.Do(ctx, p.client.B().Get().Key(plainKey(id)).Build()).AsBytes()
	if err != nil {
		return v, fmt.Errorf("plain GET %s: %w", id, err)
	}
	return decode(b)
}

// Read is GET and a decode.
func (p *Plain) Read(ids []string) Bench {
	ctx := context.Background()
	return Parallel(PerCore, func(i int) error {
		_, err := p.get(ctx, ids[i%len(ids)])
		return err
	})
}
