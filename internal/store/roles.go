package store

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"hefring/models"
)

// workerRight is what a server's worker may do with a table. rows bounds it to the
// rows that are the server's own, with $ for its number; "" means all.
type workerRight struct {
	table  string
	rights string
	rows   string
}

// workerRights is everything that a worker may do in the database. Tables that are
// not here are closed to it, above all those with people, their sessions, tokens and
// notices.
func workerRights() []workerRight {
	const (
		site    = "site_id IN (SELECT id FROM sites)" // of which it sees its own
		server  = "server_id = $"
		upgrade = "upgrade_id IN (SELECT id FROM upgrades)"
		task    = "task_id IN (SELECT id FROM tasks)"
	)
	return []workerRight{
		{"goose_db_version", "SELECT", ""},
		{"servers", "SELECT, UPDATE (seen_at, version)", "id = $"},
		{"server_keys", "SELECT", server},
		{"server_platforms", "SELECT, INSERT, UPDATE, DELETE", server},
		{"platforms", "SELECT", ""},
		{"database_servers", "SELECT", ""}, // their passwords are sealed, and not for it
		{"sites", "SELECT, UPDATE", server},
		{"site_names", "SELECT, INSERT, DELETE", site},
		{"upgrades", "SELECT, UPDATE", site},
		{"upgrade_steps", "SELECT, UPDATE", upgrade},
		{"backups", "SELECT, INSERT, UPDATE", site},
		{"comparisons", "SELECT, INSERT, DELETE", site},
		// Both sides of a site's way between servers take it on; only the control plane
		// begins and switches.
		{"relocations", "SELECT, UPDATE (state, reason, origin, target, first, second, database, backups, closed_at, opened_at, ended_at, swept_at)", "from_id = $ OR to_id = $"},
		{"tasks", "SELECT, INSERT, UPDATE", server},
		{"task_lines", "SELECT, INSERT, DELETE", task},
		{"events", "INSERT, SELECT (id)", ""},
		{"worker_beats", "SELECT, INSERT, UPDATE, DELETE", ""},
		// The queue's own tables: numbers of tasks, and who works.
		{"river_migration", "SELECT", ""},
		{"river_job", "SELECT, INSERT, UPDATE, DELETE", ""},
		{"river_leader", "SELECT, INSERT, UPDATE, DELETE", ""},
		{"river_queue", "SELECT, INSERT, UPDATE, DELETE", ""},
		{"river_notification", "SELECT, INSERT, UPDATE, DELETE", ""},
	}
}

// scramVerifier is what PostgreSQL keeps of a password (RFC 5803), so that the
// password itself is in no statement and no log.
func scramVerifier(password string) (string, error) {
	const iterations = 4096
	salt := make([]byte, 16)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make salt: %w", err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive key: %w", err)
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		_, _ = h.Write([]byte(text)) // never fails
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, encode(salt), encode(stored[:]), encode(mac("Server Key"))), nil
}

// workerConns is how many connections a worker may have at once.
const workerConns = 40

// roleSettings have PostgreSQL notice that a web host is gone. What its worker was
// about to write would else stay locked for hours.
func roleSettings() []string {
	return []string{
		"tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 3", "tcp_user_timeout = 30000",
		"idle_in_transaction_session_timeout = '1min'",
	}
}

// createRole makes the role of a server's worker with exactly its rights.
func (s *Store) createRole(ctx context.Context, serverID int64, password string) (string, error) {
	tx, err := s.postgresTx()
	if err != nil {
		return "", err
	}
	role := fmt.Sprintf("hefring_worker_%d_%s", serverID, strings.ToLower(rand.Text()[:8]))
	verifier, err := scramVerifier(password)
	if err != nil {
		return "", err
	}
	statements := []string{fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' CONNECTION LIMIT %d", role, verifier, workerConns)}
	var database, schema string
	if err := tx.QueryRow(ctx, "SELECT current_database(), current_schema()").Scan(&database, &schema); err != nil {
		return "", fmt.Errorf("ask for the database's name: %w", err)
	}
	for _, setting := range roleSettings() {
		statements = append(statements, "ALTER ROLE "+role+" SET "+setting)
	}
	statements = append(statements,
		"GRANT CONNECT ON DATABASE "+quote(database)+" TO "+role,
		"GRANT USAGE ON SCHEMA "+quote(schema)+" TO "+role)
	if err := execAll(ctx, tx, statements); err != nil {
		return "", err
	}
	return role, s.grantRights(ctx, tx, role, serverID)
}

// execAll executes statements that change roles.
func execAll(ctx context.Context, tx pgx.Tx, statements []string) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return explainRole(err)
		}
	}
	return nil
}

func (r workerRight) grant(role string, serverID int64) []string {
	statements := []string{"GRANT " + r.rights + " ON " + r.table + " TO " + role}
	if r.rows == "" {
		return statements
	}
	rows := strings.ReplaceAll(r.rows, "$", strconv.FormatInt(serverID, 10))
	return append(statements,
		"ALTER TABLE "+r.table+" ENABLE ROW LEVEL SECURITY", // which does not bind the tables' owner
		"CREATE POLICY "+role+" ON "+r.table+" TO "+role+" USING ("+rows+") WITH CHECK ("+rows+")")
}

// grantSequences lets a role number the rows of the tables that it may write to.
func (s *Store) grantSequences(ctx context.Context, tx pgx.Tx, role string) error {
	for _, right := range workerRights() {
		if !strings.Contains(right.rights, "INSERT") {
			continue
		}
		rows, err := tx.Query(ctx, `SELECT s.oid::regclass::text FROM pg_class s JOIN pg_depend d ON d.objid = s.oid
			WHERE s.relkind = 'S' AND d.refobjid = $1::regclass`, right.table)
		if err != nil {
			return fmt.Errorf("find sequences of %s: %w", right.table, err)
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("find sequences of %s: %w", right.table, err)
		}
		for _, name := range names {
			if _, err := tx.Exec(ctx, "GRANT USAGE ON SEQUENCE "+name+" TO "+role); err != nil {
				return fmt.Errorf("grant %s: %w", name, err)
			}
		}
	}
	return nil
}

// usedElsewhere is true of a role of PostgreSQL's that has rights in another database
// of that server: it belongs to the control plane that this one was restored from,
// which may be at work.
const usedElsewhere = `EXISTS (SELECT 1 FROM pg_shdepend u JOIN pg_database o ON o.oid = u.dbid
	WHERE u.refclassid = 'pg_authid'::regclass AND u.refobjid = r.oid AND o.datname <> current_database())`

// usedHere is true of a role that has rights in this database.
const usedHere = `EXISTS (SELECT 1 FROM pg_shdepend u JOIN pg_database o ON o.oid = u.dbid
	WHERE u.refclassid = 'pg_authid'::regclass AND u.refobjid = r.oid AND o.datname = current_database())`

// dropRole takes the role of a worker away, and ends its connections. One that has
// rights in another database keeps those.
func (s *Store) dropRole(ctx context.Context, role string) error {
	tx, err := s.postgresTx()
	if err != nil {
		return err
	}
	var database, schema string
	var shared bool
	err = tx.QueryRow(ctx, "SELECT current_database(), current_schema(), "+usedElsewhere+" FROM pg_roles r WHERE rolname = $1", role).Scan(&database, &schema, &shared)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for role %s: %w", role, err)
	}
	name := quote(role)
	if !shared {
		if err := execAll(ctx, tx, []string{"ALTER ROLE " + name + " NOLOGIN"}); err != nil {
			return err
		}
	}
	if err := s.revokeRights(ctx, tx, role); err != nil {
		return err
	}
	statements := []string{"REVOKE ALL ON SCHEMA " + quote(schema) + " FROM " + name, "REVOKE ALL ON DATABASE " + quote(database) + " FROM " + name}
	if !shared {
		statements = append(statements, "DROP ROLE "+name)
	}
	return execAll(ctx, tx, statements)
}

// How often the tables are asked for that a role's rules are about to change.
const (
	lockTries = 200
	lockEvery = 50 * time.Millisecond
)

// changingRoles runs fn in a transaction that has the tables of workers' rules for
// itself. It never waits while it holds some of them: others would wait for it, and
// it for them.
func (s *Store) changingRoles(ctx context.Context, fn func(tx *Store) error) error {
	if s.engine.pool() == nil {
		return models.Errorf(models.Unavailable, "Several servers need a control plane on PostgreSQL.")
	}
	var tables []string
	for _, right := range workerRights() {
		if right.rows != "" {
			tables = append(tables, right.table)
		}
	}
	lock := "LOCK TABLE " + strings.Join(tables, ", ") + " IN ACCESS EXCLUSIVE MODE NOWAIT"
	for try := 1; ; try++ {
		err := s.transaction(ctx, func(tx *Store) error {
			native, err := tx.postgresTx()
			if err != nil {
				return err
			}
			if _, err := native.Exec(ctx, lock); err != nil {
				return err
			}
			return fn(tx)
		})
		const lockNotAvailable = "55P03"
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != lockNotAvailable {
			return err
		}
		if try == lockTries {
			return models.Wrapf(models.Unavailable, err, "The database is too busy to change what a worker may do. Try again.")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockEvery):
		}
	}
}

func (s *Store) postgresTx() (pgx.Tx, error) {
	tx, ok := s.native.(pgx.Tx)
	if !ok {
		return nil, errors.New("roles are made in transactions of PostgreSQL")
	}
	return tx, nil
}

// explainRole says what to do when we may not make roles.
func explainRole(err error) error {
	const insufficientPrivilege = "42501"
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == insufficientPrivilege {
		return models.Wrapf(models.Unavailable, err,
			"Hefring may not make roles in PostgreSQL (%s). Let it, as PostgreSQL's administrator: ALTER ROLE its_user CREATEROLE", e.Message)
	}
	return fmt.Errorf("change role of a worker: %w", err)
}
