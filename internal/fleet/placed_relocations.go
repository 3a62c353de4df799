package fleet

import (
	"context"

	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// PackSite is Hosting's.
func (h placed) PackSite(ctx context.Context, site models.Site, p models.Platform, backups []models.Backup, log Log) (models.Cargo, error) {
	return h.Hosting.PackSite(ctx, site, h.at(p), backups, log)
}

// HandOver is Hosting's.
func (h placed) HandOver(ctx context.Context, site models.Site, p models.Platform, steps upgrade.HandOver, log Log) error {
	return h.Hosting.HandOver(ctx, site, h.at(p), steps, log)
}

// TakeIn is Hosting's.
func (h placed) TakeIn(ctx context.Context, site models.Site, p models.Platform, cargo models.Cargo, origin string, log Log) (models.Database, error) {
	return h.Hosting.TakeIn(ctx, site, h.at(p), cargo, origin, log)
}

// CatchUp is Hosting's.
func (h placed) CatchUp(ctx context.Context, site models.Site, p models.Platform, cargo models.Cargo, log Log) error {
	return h.Hosting.CatchUp(ctx, site, h.at(p), cargo, log)
}

// Leave is Hosting's.
func (h placed) Leave(ctx context.Context, site models.Site, list []models.Platform, sure func(ctx context.Context) (bool, error)) error {
	return h.Hosting.Leave(ctx, site, h.allAt(list), sure)
}
