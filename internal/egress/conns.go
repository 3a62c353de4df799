package egress

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// maxOpen is how many connections may be open before those in no use are closed.
// http.Transport bounds only idle connections of HTTP/1: each host that speaks
// HTTP/2 would keep one, and its 50 kB, until IdleConnTimeout.
const maxOpen = 128

// openConns counts the connections of transports.
type openConns struct {
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	closeIdle func()
	count     atomic.Int64
}

// connect is for http.Transport.DialContext.
func (o *openConns) connect(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := o.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if o.count.Add(1) > maxOpen {
		o.closeIdle()
	}
	return &openConn{Conn: conn, closed: sync.OnceFunc(func() { o.count.Add(-1) })}, nil
}

// openConn is counted until it is closed.
type openConn struct {
	net.Conn

	closed func()
}

// Close closes the connection.
func (c *openConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
