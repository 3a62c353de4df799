package tree

import (
	"context"
	"io"
)

// UntilDone reads r until ctx ends, and then fails with its cause: a long copy stops.
func UntilDone(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context //nolint:containedctx // lives for one read loop
	r   io.Reader
}

// Read reads on.
func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
