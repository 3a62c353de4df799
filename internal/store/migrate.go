package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"

	"hefring/migrations"
	"hefring/models"
)

// Schema gives the number of the newest schema that this program knows.
func Schema() (int64, error) {
	steps, err := migrations.SQLite() // PostgreSQL has the same numbers
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	names, err := fs.Glob(steps, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, errors.Join(errors.New("read migrations: there are none"), err)
	}
	number, _, _ := strings.Cut(slices.Max(names), "_")
	return strconv.ParseInt(number, 10, 64)
}

// migrate applies what is missing of the schema. One process does it, the
// others wait.
func migrate(ctx context.Context, e engine) error {
	return e.exclusive(ctx, func(ctx context.Context) error {
		p, err := e.provider()
		if err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
		return up(ctx, p)
	})
}

// up goes to the newest schema, and never back: what a newer program keeps in
// the database would be lost.
func up(ctx context.Context, p *goose.Provider) error {
	if _, err := current(ctx, p); err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// current gives the number of the database's schema, 0 for none. It refuses one
// that this program does not know.
func current(ctx context.Context, p *goose.Provider) (int64, error) {
	version, known, err := p.GetVersions(ctx)
	if err != nil {
		return 0, fmt.Errorf("read version of database: %w", err)
	}
	if version > known {
		return 0, tooNew(version, known)
	}
	return version, nil
}

func tooNew(version, known int64) error {
	return models.Errorf(models.Conflict,
		"The database has the schema %d, and this Hefring knows schemas up to %d: a newer Hefring has upgraded it. "+
			"Nothing was changed. Install that Hefring again, or any that knows schema %d; or restore the backup that was made before the upgrade into an empty database.",
		version, known, version)
}
