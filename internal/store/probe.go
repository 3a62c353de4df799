package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"hefring/models"
)

// Probe asks a database for its name, such as PostgreSQL 17.2, and for its clock,
// which is zero on SQLite: that has none of its own. It makes nothing; a SQLite
// file that is not there is fs.ErrNotExist.
func Probe(ctx context.Context, dsn string) (name string, now time.Time, err error) {
	path, isFile := strings.CutPrefix(dsn, "sqlite:")
	if isFile {
		if _, err := os.Stat(path); err != nil {
			return "", time.Time{}, fmt.Errorf("probe database: %w", err)
		}
	}
	e, err := connect(ctx, dsn)
	if err != nil {
		return "", time.Time{}, err
	}
	defer func() { _ = e.Close() }()
	if isFile {
		err = e.sql().QueryRowContext(ctx, "SELECT 'SQLite ' || sqlite_version()").Scan(&name)
	} else {
		err = e.sql().QueryRowContext(ctx, "SELECT 'PostgreSQL ' || current_setting('server_version'), clock_timestamp()").Scan(&name, &now)
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("probe database: %w", err)
	}
	return name, now, nil
}

// Peek lists the registered database servers of a database as it is: nothing is
// migrated. One without that table has none.
func Peek(ctx context.Context, dsn string) ([]models.DatabaseServer, error) {
	if path, isFile := strings.CutPrefix(dsn, "sqlite:"); isFile {
		if _, err := os.Stat(path); err != nil {
			return nil, nil // it is made at the first start
		}
	}
	e, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }()
	db, err := openGORM(e, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	var list []models.DatabaseServer
	if !db.Migrator().HasTable(&models.DatabaseServer{}) {
		return nil, nil
	}
	if err := db.WithContext(ctx).Order("name").Find(&list).Error; err != nil {
		return nil, fmt.Errorf("list database servers: %w", err)
	}
	return list, nil
}
