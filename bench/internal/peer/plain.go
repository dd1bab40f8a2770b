package peer

import (
	"context"
	"errors"

	"github.com/redis/rueidis"

	"github.com/fleetcache/fleetcache/bench/internal/subject"
)

// Plain is what people write by hand on rueidis, with its default client: look
// the key up, load, SET with a TTL. "rueidis DoCache" looks up with DoCache, so that
// memory has the reply and Redis announces changes, "rueidis GET" with GET.
//
// Nothing keeps callers that miss together from loading together, nor a load
// from storing what was invalidated meanwhile, and what does not exist is
// looked up at the source every time.
type Plain struct {
	client rueidis.Client
	name   string
	cached bool
	s      Settings
}

func openPlain(name string, cached bool) func(context.Context, Settings) (Cache, error) {
	return func(_ context.Context, s Settings) (Cache, error) {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: s.Addrs})
		if err != nil {
			return nil, err
		}
		return &Plain{client: c, name: name, cached: cached, s: s}, nil
	}
}

// Name implements Cache.
func (p *Plain) Name() string { return p.name }

// GetOrLoad implements Cache.
func (p *Plain) GetOrLoad(ctx context.Context, id string, load Load) (subject.Product, error) {
	key := p.s.key(id)
	var r rueidis.RedisResult
	if p.cached {
		r = p.client.DoCache(ctx, p.client.B().Get().Key(key).Cache(), p.s.TTL)
	} else {
		r = p.client.Do(ctx, p.client.B().Get().Key(key).Build())
	}
	b, err := r.AsBytes()
	switch {
	case err == nil:
		return decode(b)
	case !rueidis.IsRedisNil(err):
		return subject.Product{}, err
	}
	v, err := load(ctx)
	if err != nil {
		return v, err
	}
	return v, p.Set(ctx, id, v)
}

// Many is MGetCache, or MGet, and a pipeline of SET for what was loaded.
func (p *Plain) Many(ctx context.Context, ids []string, load LoadMany) (map[string]subject.Product, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = p.s.key(id)
	}
	var found map[string]rueidis.RedisMessage
	var err error
	if p.cached {
		found, err = rueidis.MGetCache(p.client, ctx, p.s.TTL, keys)
	} else {
		found, err = rueidis.MGet(p.client, ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]subject.Product, len(ids))
	var missing []string
	for i, id := range ids {
		m := found[keys[i]]
		b, err := m.AsBytes()
		if rueidis.IsRedisNil(err) {
			missing = append(missing, id)
			continue
		}
		if err != nil {
			return nil, err
		}
		if out[id], err = decode(b); err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	loaded, err := load(ctx, missing)
	if err != nil {
		return nil, err
	}
	return out, p.store(ctx, missing, loaded, out)
}

// store stores what was loaded, and adds it to out.
func (p *Plain) store(ctx context.Context, ids []string, loaded, out map[string]subject.Product) error {
	cmds := make([]rueidis.Completed, 0, len(loaded))
	for _, id := range ids {
		v, ok := loaded[id]
		if !ok {
			continue
		}
		out[id] = v
		c, err := p.command(id, v)
		if err != nil {
			return err
		}
		cmds = append(cmds, c)
	}
	var errs []error
	for _, r := range p.client.DoMulti(ctx, cmds...) {
		errs = append(errs, r.Error())
	}
	return errors.Join(errs...)
}

func (p *Plain) command(id string, v subject.Product) (c rueidis.Completed, err error) {
	b, err := encode(&v)
	if err != nil {
		return c, err
	}
	return p.client.B().Set().Key(p.s.key(id)).Value(rueidis.BinaryString(b)).Px(p.s.TTL).Build(), nil
}

// Set implements Setter.
func (p *Plain) Set(ctx context.Context, id string, v subject.Product) error {
	c, err := p.command(id, v)
	if err != nil {
		return err
	}
	return p.client.Do(ctx, c).Error()
}

// Invalidate is DEL.
func (p *Plain) Invalidate(ctx context.Context, id string) error {
	return p.client.Do(ctx, p.client.B().Del().Key(p.s.key(id)).Build()).Error()
}

// Close implements Cache.
func (p *Plain) Close() error {
	p.client.Close()
	return nil
}
