package successor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// remembered bounds how many connections to one address are kept to be ended.
// More than that are lost only while no connection can be made.
const remembered = 64

// A Dialer makes connections for one rueidis client. Its Dial is the client's
// DialCtxFn. It is safe for concurrent use.
type Dialer struct {
	opt     rueidis.ClientOption
	refused func(addr string, err error)

	// OnLost, if not nil, is told the address of every connection that is given
	// up. It is set before the first connection is made, and must not block.
	OnLost func(addr string)

	// Ended counts connections that a server has ended for us, Unfenced those
	// that it would not.
	Ended, Unfenced atomic.Uint64

	mu   sync.Mutex // protects gone
	gone map[string][]lost
}

// lost is a connection that was given up.
type lost struct {
	id   int64 // that the server gave it
	made time.Time
}

// New returns the dialer of a client with the given options, whose dial
// function, credentials and TLS configuration it uses. The function refused is
// told when a server does not allow to end connections; it must not block.
func New(opt rueidis.ClientOption, refused func(addr string, err error)) *Dialer {
	return &Dialer{opt: opt, refused: refused, gone: map[string][]lost{}}
}

// Dial connects to addr, after the server has ended the connections to it that
// were made here and closed. It fails if the server cannot be asked: it could
// not be used either.
func (d *Dialer) Dial(ctx context.Context, addr string, nd *net.Dialer, tc *tls.Config) (net.Conn, error) {
	if nd.Timeout > 0 { // for all of it
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, nd.Timeout)
		defer cancel()
	}
	if err := d.end(ctx, addr, nd, tc); err != nil {
		return nil, err
	}
	c, err := d.dial(ctx, addr, nd, tc)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, d: d, addr: addr, made: time.Now()}, nil
}

// dial is what the client would have done without this package.
func (d *Dialer) dial(ctx context.Context, addr string, nd *net.Dialer, tc *tls.Config) (net.Conn, error) {
	switch {
	case d.opt.DialCtxFn != nil:
		return d.opt.DialCtxFn(ctx, addr, nd, tc)
	case d.opt.DialFn != nil:
		return d.opt.DialFn(addr, nd, tc)
	case tc != nil:
		return (&tls.Dialer{NetDialer: nd, Config: tc}).DialContext(ctx, "tcp", addr)
	}
	return nd.DialContext(ctx, "tcp", addr)
}

// lose remembers a connection that was closed here.
func (d *Dialer) lose(addr string, l lost) {
	if d.OnLost != nil {
		d.OnLost(addr)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.gone[addr]; len(g) < remembered {
		d.gone[addr] = append(g, l)
	} else {
		copy(g, g[1:])
		g[len(g)-1] = l
	}
}

// end has the server end the connections to addr that were given up. Those
// remain remembered until it has said so.
func (d *Dialer) end(ctx context.Context, addr string, nd *net.Dialer, tc *tls.Config) error {
	d.mu.Lock()
	todo := d.gone[addr]
	delete(d.gone, addr)
	d.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	err := d.kill(ctx, addr, nd, tc, todo)
	var reply replyError
	switch {
	case err == nil:
		d.Ended.Add(uint64(len(todo)))
		return nil
	case errors.As(err, &reply):
		d.Unfenced.Add(uint64(len(todo)))
		d.refused(addr, err)
		return nil
	}
	for _, l := range todo {
		d.lose(addr, l)
	}
	return err
}

// kill asks the server, over a connection of its own, to end connections.
func (d *Dialer) kill(ctx context.Context, addr string, nd *net.Dialer, tc *tls.Config, todo []lost) error {
	c, err := d.dial(ctx, addr, nd, tc)
	if err != nil {
		return err
	}
	defer c.Close()
	limit := nd.Timeout
	if limit <= 0 {
		limit = 5 * time.Second
	}
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s := newSession(c)
	if err := d.authenticate(s, c.RemoteAddr()); err != nil {
		return err
	}
	return s.kill(todo)
}

// authenticate does what the client does on its connections.
func (d *Dialer) authenticate(s *session, addr net.Addr) error {
	user, password := d.opt.Username, d.opt.Password
	if d.opt.AuthCredentialsFn != nil {
		cred, err := d.opt.AuthCredentialsFn(rueidis.AuthCredentialsContext{Address: addr})
		if err != nil {
			return err
		}
		user, password = cred.Username, cred.Password
	}
	err := s.auth(user, password)
	var reply replyError
	if sent := d.opt.Sentinel; sent.MasterSet != "" && errors.As(err, &reply) {
		err = s.auth(sent.Username, sent.Password) // it may be a Sentinel
	}
	return err
}
