package web

import "hefring/internal/fleet"

// The use cases are what the pages need.
var (
	_ Front = (*fleet.Fleet)(nil)
	_ Fleet = (*fleet.Desk)(nil)
)
