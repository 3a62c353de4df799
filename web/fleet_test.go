package web

import "hefring/internal/fleet"

// The use cases are what the pages need.
var _ Fleet = (*fleet.Fleet)(nil)
