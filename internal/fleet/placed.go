package fleet

import (
	"context"

	"hefring/internal/platforms"
	"hefring/internal/sites/upgrade"
	"hefring/models"
)

// placed is a server's Hosting where platforms lie in the server's own store: their
// rows say where they were built, on the control plane's host.
type placed struct {
	Hosting

	store *platforms.Store
}

// Placed gives Hosting with the roots of platforms as they are in a server's store.
func Placed(h Hosting, store *platforms.Store) Hosting { return placed{h, store} }

func (h placed) at(p models.Platform) models.Platform {
	if p.Root != "" {
		p.Root = h.store.RootOf(p.Root)
	}
	return p
}

// Install is Hosting's.
func (h placed) Install(ctx context.Context, site models.Site, p models.Platform, log Log) (models.Database, error) {
	return h.Hosting.Install(ctx, site, h.at(p), log)
}

// Compare is Hosting's.
func (h placed) Compare(ctx context.Context, site models.Site, from, to models.Platform, log Log) (models.Comparison, error) {
	return h.Hosting.Compare(ctx, site, h.at(from), h.at(to), log)
}

// Upgrade is Hosting's.
func (h placed) Upgrade(ctx context.Context, move upgrade.Move, journal upgrade.Journal, log Log) upgrade.Outcome {
	move.From, move.To = h.at(move.From), h.at(move.To)
	return h.Hosting.Upgrade(ctx, move, journal, log)
}

// Verify is Hosting's.
func (h placed) Verify(ctx context.Context, site models.Site, p models.Platform, log Log) error {
	return h.Hosting.Verify(ctx, site, h.at(p), log)
}

// Forget is Hosting's.
func (h placed) Forget(ctx context.Context, site models.Site, from models.Platform, db models.Database) error {
	return h.Hosting.Forget(ctx, site, h.at(from), db)
}

// Cron is Hosting's.
func (h placed) Cron(ctx context.Context, site models.Site, p models.Platform, log Log) error {
	return h.Hosting.Cron(ctx, site, h.at(p), log)
}

// LoginLink is Hosting's.
func (h placed) LoginLink(ctx context.Context, site models.Site, p models.Platform) (string, error) {
	return h.Hosting.LoginLink(ctx, site, h.at(p))
}

// Backup is Hosting's.
func (h placed) Backup(ctx context.Context, site models.Site, p models.Platform, b models.Backup, log Log) (models.Backup, error) {
	return h.Hosting.Backup(ctx, site, h.at(p), b, log)
}

// Clone is Hosting's.
func (h placed) Clone(ctx context.Context, from models.Origin, to models.Site, p models.Platform, log Log) (models.Database, error) {
	return h.Hosting.Clone(ctx, from, to, h.at(p), log)
}

// Delete is Hosting's.
func (h placed) Delete(ctx context.Context, site models.Site, list []models.Platform, log Log) error {
	return h.Hosting.Delete(ctx, site, h.allAt(list), log)
}

func (h placed) allAt(list []models.Platform) []models.Platform {
	local := make([]models.Platform, 0, len(list))
	for _, p := range list {
		local = append(local, h.at(p))
	}
	return local
}
