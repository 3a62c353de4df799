package fleet

import (
	"context"

	"hefring/models"
)

// ServerPlatformRow is a platform on a server, with the names of both.
type ServerPlatformRow struct {
	models.ServerPlatform

	Server   string
	Platform string
}

// PlatformServers lists the servers that a platform was brought to.
func (f *Fleet) PlatformServers(ctx context.Context, platformID int64) ([]ServerPlatformRow, error) {
	return f.store.DeliveryRows(ctx, 0, platformID)
}

// ServerPlatforms lists the platforms that were brought to a server.
func (f *Fleet) ServerPlatforms(ctx context.Context, serverID int64) ([]ServerPlatformRow, error) {
	return f.store.DeliveryRows(ctx, serverID, 0)
}
