package postgres

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"

	"hefring/internal/sites/database"
	"hefring/models"
)

const (
	// templateBytes is up to which size a database is copied as a template. New
	// connections to it wait that long.
	templateBytes = 1 << 30
	// templateTime is how long they wait at most.
	templateTime = "3s"
	// youngSession is for how long a session may have lasted already: PostgreSQL
	// waits for those to end.
	youngSession = "1 second"
	// copyFiles is from which size on it is faster to copy files than to write
	// all pages to the log.
	copyFiles = 64 << 20
)

// Copy makes the new database from the old one as a template when nobody stays
// connected to it: new connections then wait until it is done, a second at most,
// and none fails. Else it streams a dump.
func (e *Engine) Copy(ctx context.Context, from, to models.Database) (info database.CopyInfo, err error) {
	source, err := e.servers.Find(ctx, Name, from)
	if err != nil {
		return info, err
	}
	target, err := e.servers.Find(ctx, Name, to)
	if err != nil {
		return info, err
	}
	if from == to {
		return info, models.Errorf(models.Invalid, "The database %s cannot be copied onto itself.", from.Name)
	}
	// What is in a template keeps its owner, so it must be the same.
	if source.Server.ID == target.Server.ID && source.User == target.User {
		var done bool
		if info, done, err = e.copyTemplate(ctx, source, target); err != nil {
			return info, explain("copy", source.Server, source.Name, err)
		}
		if done {
			return info, nil
		}
	}
	return e.copyStreamed(ctx, source, target)
}

// copyTemplate answers false when somebody stays connected to the source, or when
// it takes too long.
func (e *Engine) copyTemplate(ctx context.Context, source, target database.Place) (info database.CopyInfo, done bool, err error) {
	own, err := e.own(ctx, source)
	if err != nil {
		return info, false, err
	}
	err = within(ctx, own, source.Name, shortTime, func(ctx context.Context, conn *pgx.Conn) error {
		info, err = measure(ctx, conn)
		return err
	})
	if err != nil || info.Bytes > templateBytes {
		return info, false, err
	}
	err = alone(ctx, target, func(ctx context.Context, conn *pgx.Conn) error {
		if err := mustExist(ctx, conn, target); err != nil {
			return err
		}
		if err := dropDatabase(ctx, conn, target.Name+unfinished); err != nil {
			return err
		}
		done, err = fromTemplate(ctx, conn, source, target, info.Bytes)
		if err != nil || !done {
			return err
		}
		return swap(ctx, conn, target)
	})
	return info, done, err
}

func fromTemplate(ctx context.Context, conn *pgx.Conn, source, target database.Place, bytes int64) (bool, error) {
	var version, old int
	row := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, (SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_start < clock_timestamp() - $2::interval AND backend_type = 'client backend')",
		source.Name, youngSession)
	if err := row.Scan(&version, &old); err != nil || old > 0 {
		return false, err
	}
	strategy := ""
	if version >= 150000 {
		strategy = " STRATEGY wal_log"
		if bytes >= copyFiles {
			strategy = " STRATEGY file_copy"
		}
	}
	_, err := conn.Exec(ctx, "SET statement_timeout = '"+templateTime+"'")
	if err != nil {
		return false, err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s OWNER %s%s ALLOW_CONNECTIONS false",
		ident(target.Name+unfinished), ident(source.Name), ident(target.User), strategy))
	if code := codeOf(err); code == codeInUse || code == codeCancelled {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, exec(ctx, conn, "RESET statement_timeout")
}

// copyStreamed pipes pg_dump as the one site into pg_restore as the other.
func (e *Engine) copyStreamed(ctx context.Context, source, target database.Place) (info database.CopyInfo, err error) {
	err = database.Pipe(ctx, func(ctx context.Context, w io.Writer) error {
		_, err := e.Dump(ctx, source.Database(), w)
		return err
	}, func(ctx context.Context, r io.Reader) error {
		info, err = e.Load(ctx, target.Database(), r)
		return err
	})
	return info, err
}
