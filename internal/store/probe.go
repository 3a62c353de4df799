package store

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
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
