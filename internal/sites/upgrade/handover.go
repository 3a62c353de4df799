package upgrade

import (
	"context"

	"hefring/models"
)

// HandOver is what happens around the last copy of a site that goes to another server,
// in this order.
type HandOver struct {
	// Closed brings the copy to the new server. Writes are refused from here on.
	Closed func(ctx context.Context, cargo models.Cargo) error
	// Proven waits until the site was found to answer there with all of it.
	Proven func(ctx context.Context) error
	// Sealed says that nobody wrote meanwhile and that nobody will, and whether the site
	// was then switched. An error means that this cannot be told now.
	Sealed func(ctx context.Context) (switched bool, err error)
}
