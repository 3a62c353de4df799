package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"

	"hefring/models"
)

// What a worker may do belongs to tables, and migrations make new ones. Each role
// carries in its comment which rights it was given, so that those of an older
// program, or on tables that were made anew, are noticed and renewed.

// grantRights gives a role exactly what workers may do.
func (s *Store) grantRights(ctx context.Context, tx pgx.Tx, role string, serverID int64) error {
	var statements []string
	for _, right := range workerRights() {
		statements = append(statements, right.grant(role, serverID)...)
	}
	if err := execAll(ctx, tx, statements); err != nil {
		return err
	}
	if err := s.grantSequences(ctx, tx, role); err != nil {
		return err
	}
	mark, err := s.rightsMark(ctx)
	if err != nil {
		return err
	}
	return execAll(ctx, tx, []string{"COMMENT ON ROLE " + quote(role) + " IS '" + mark + "'"})
}

// revokeRights takes away what a role may do with tables, also what an older program
// gave it.
func (s *Store) revokeRights(ctx context.Context, tx pgx.Tx, role string) error {
	rows, err := tx.Query(ctx, "SELECT tablename::text FROM pg_policies WHERE schemaname = current_schema() AND policyname = $1", role)
	if err != nil {
		return fmt.Errorf("list rules of %s: %w", role, err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list rules of %s: %w", role, err)
	}
	var schema string
	if err := tx.QueryRow(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return fmt.Errorf("ask for the schema's name: %w", err)
	}
	name := quote(role)
	statements := make([]string, 0, len(tables)+2)
	for _, table := range tables {
		statements = append(statements, "DROP POLICY "+name+" ON "+quote(table))
	}
	return execAll(ctx, tx, append(statements,
		"REVOKE ALL ON ALL TABLES IN SCHEMA "+quote(schema)+" FROM "+name,
		"REVOKE ALL ON ALL SEQUENCES IN SCHEMA "+quote(schema)+" FROM "+name))
}

// rightsMark identifies the rights that this program gives to workers in this
// database: a hash over the list and over the numbers of its tables.
func (s *Store) rightsMark(ctx context.Context) (string, error) {
	var tables []struct {
		Name   string
		Number int64
	}
	err := s.with(ctx).Raw("SELECT relname AS name, oid::bigint AS number FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace").Scan(&tables).Error
	if err != nil {
		return "", fmt.Errorf("list tables: %w", err)
	}
	numbers := map[string]int64{}
	for _, t := range tables {
		numbers[t.Name] = t.Number
	}
	sum := sha256.New()
	for _, right := range workerRights() {
		_, _ = fmt.Fprintf(sum, "%d %q\n", numbers[right.table], []string{right.table, right.rights, right.rows}) // never fails
	}
	return "rights " + hex.EncodeToString(sum.Sum(nil)), nil
}

// RenewRights gives the workers of all joined servers the rights that this program's
// workers need, where they have others: a migration or a newer program came since they
// joined. It changes nothing where nothing is to be changed, and is safe to be called
// by several processes at once. A role that is not there is left out, and so is one that
// belongs to the control plane that this one was restored from.
func (s *Store) RenewRights(ctx context.Context) error {
	if s.engine.pool() == nil {
		return nil
	}
	stale, err := s.staleRights(ctx)
	if err != nil || len(stale) == 0 {
		return err
	}
	return s.changingRoles(ctx, func(tx *Store) error {
		stale, err := tx.staleRights(ctx) // another process may have been quicker
		if err != nil {
			return err
		}
		native, err := tx.postgresTx()
		if err != nil {
			return err
		}
		for _, server := range stale {
			if err := tx.revokeRights(ctx, native, server.Role); err != nil {
				return err
			}
			if err := tx.grantRights(ctx, native, server.Role, server.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// staleRights lists the servers whose workers have other rights than they should.
func (s *Store) staleRights(ctx context.Context) ([]models.Server, error) {
	mark, err := s.rightsMark(ctx)
	if err != nil {
		return nil, err
	}
	var list []models.Server
	err = s.with(ctx).Joins("JOIN pg_roles r ON r.rolname = servers.role").
		Where("servers.state = ? AND COALESCE(shobj_description(r.oid, 'pg_authid'), '') <> ?", models.ServerJoined, mark).
		Where("NOT (" + usedElsewhere + " AND NOT " + usedHere + ")").
		Order("servers.id").Find(&list).Error
	if err != nil {
		return nil, fmt.Errorf("look for workers' rights: %w", err)
	}
	return list, nil
}

// hasRights fails with Unavailable until the worker's role, as which the database was
// opened, has the rights that this program needs.
func (s *Store) hasRights(ctx context.Context) error {
	mark, err := s.rightsMark(ctx)
	if err != nil {
		return err
	}
	var has string
	err = s.with(ctx).Raw("SELECT COALESCE(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = current_user").Scan(&has).Error
	if err != nil {
		return fmt.Errorf("look for the worker's rights: %w", err)
	}
	if has != mark {
		return models.Errorf(models.Unavailable, "The control plane has not given this worker the rights that it needs yet. It does so within a minute once the same Hefring as here runs there.")
	}
	return nil
}
