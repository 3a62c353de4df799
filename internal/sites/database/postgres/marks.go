package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"hefring/internal/sites/database"
	"hefring/models"
)

// Marks notes how each table is now.
func (e *Engine) Marks(ctx context.Context, db models.Database) (marks []models.TableMark, err error) {
	err = e.look(ctx, db, func(t *tables) error {
		marks, err = database.MarkAll(t, time.Now().Unix())
		return err
	})
	return marks, err
}

// Loss tells what was written since the marks were taken.
func (e *Engine) Loss(ctx context.Context, db models.Database, marks []models.TableMark) (losses []models.TableLoss, err error) {
	err = e.look(ctx, db, func(t *tables) error {
		losses, err = database.LossOf(t, marks)
		return err
	})
	return losses, err
}

// look reads the database as the site's role, at one moment.
func (e *Engine) look(ctx context.Context, db models.Database, fn func(*tables) error) error {
	place, err := e.servers.Find(ctx, Name, db)
	if err != nil {
		return err
	}
	server, err := e.own(ctx, place)
	if err != nil {
		return err
	}
	err = within(ctx, server, place.Name, longTime, func(ctx context.Context, conn *pgx.Conn) error {
		if err := exec(ctx, conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
			return err
		}
		return fn(&tables{ctx: ctx, conn: conn})
	})
	if err != nil {
		return explain("read", place.Server, place.Name, err)
	}
	return nil
}

// tables is the database.Tables of one connection: those of the schema public, in
// which Drupal keeps all of its own.
type tables struct {
	ctx      context.Context //nolint:containedctx // it lives for one call
	conn     *pgx.Conn
	integers map[string][]string
	keys     map[string][]string // columns of the primary key; "" for one that is no integer
	counts   map[string]*[3]int64
}

func (t *tables) Names() ([]string, error) {
	rows, err := t.conn.Query(t.ctx, `SELECT c.relname, coalesce(a.attname, ''), coalesce(a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype), false),
			coalesce(a.attnum = ANY (i.indkey::int2[]), false)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname, a.attnum`)
	if err != nil {
		return nil, err
	}
	t.integers, t.keys = map[string][]string{}, map[string][]string{}
	var names []string
	var table, name string
	var isInt, isKey bool
	_, err = pgx.ForEachRow(rows, []any{&table, &name, &isInt, &isKey}, func() error {
		if len(names) == 0 || names[len(names)-1] != table {
			names = append(names, table)
		}
		if isInt {
			t.integers[table] = append(t.integers[table], name)
		}
		key := name
		if !isInt {
			key = ""
		}
		if isKey {
			t.keys[table] = append(t.keys[table], key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return names, t.count()
}

// count asks what PostgreSQL counts. A session tells what it did when it ends or
// some seconds later, so nothing is asked while there are others.
func (t *tables) count() error {
	var others int
	err := t.conn.QueryRow(t.ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'").Scan(&others)
	if err != nil || others > 0 {
		return err
	}
	rows, err := t.conn.Query(t.ctx, "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE schemaname = 'public'")
	if err != nil {
		return err
	}
	t.counts = map[string]*[3]int64{}
	var table string
	var counts [3]int64
	_, err = pgx.ForEachRow(rows, []any{&table, &counts[0], &counts[1], &counts[2]}, func() error {
		own := counts
		t.counts[table] = &own
		return nil
	})
	return err
}

func (t *tables) Mark(table string, at int64) (models.TableMark, error) {
	mark := models.TableMark{Table: table, At: at, Changed: database.ChangedColumn(t.integers[table]), Counts: t.counts[table]}
	if keys := t.keys[table]; len(keys) == 1 {
		mark.Key = keys[0]
	}
	var last int64
	row := t.conn.QueryRow(t.ctx, fmt.Sprintf("SELECT count(*), %s, %s FROM %s", largest(mark.Key), largest(mark.Changed), qualified(table)))
	if err := row.Scan(&mark.Rows, &mark.MaxKey, &last); err != nil {
		return mark, err
	}
	if last > at { // times in the future tell nothing
		mark.Changed = ""
	}
	var err error
	if mark.Rows <= database.SumRows {
		mark.Sum, err = t.sum(table)
	}
	return mark, err
}

func (t *tables) Now(mark models.TableMark) (now database.Now, err error) {
	added, touched := "0::bigint", "0::bigint"
	old := ""
	if mark.Key != "" {
		added = fmt.Sprintf("count(*) FILTER (WHERE %s > %d)", ident(mark.Key), mark.MaxKey)
		old = fmt.Sprintf(" AND %s <= %d", ident(mark.Key), mark.MaxKey)
	}
	if mark.Changed != "" {
		touched = fmt.Sprintf("count(*) FILTER (WHERE %s >= %d%s)", ident(mark.Changed), mark.At, old)
	}
	row := t.conn.QueryRow(t.ctx, fmt.Sprintf("SELECT count(*), %s, %s FROM %s", added, touched, qualified(mark.Table)))
	if err := row.Scan(&now.Rows, &now.Added, &now.Touched); err != nil {
		return now, err
	}
	now.Counts = t.counts[mark.Table]
	if mark.Sum != "" && now.Rows == mark.Rows {
		now.Sum, err = t.sum(mark.Table)
	}
	return now, err
}

// sum hashes all rows, in an order of its own.
func (t *tables) sum(table string) (sum string, err error) {
	err = t.conn.QueryRow(t.ctx, "SELECT md5(coalesce(string_agg(h, '' ORDER BY h COLLATE \"C\"), '')) FROM (SELECT md5(t::text) AS h FROM "+qualified(table)+" t) s").Scan(&sum)
	return sum, err
}

func qualified(table string) string { return "public." + ident(table) }

func largest(column string) string {
	if column == "" {
		return "0::bigint"
	}
	return "coalesce(max(" + ident(column) + "), 0)::bigint"
}
