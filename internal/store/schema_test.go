package store

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/schema"

	"hefring/internal/testpg"
	"hefring/migrations"
	"hefring/models"
)

// rows are all the structs that we store.
func rows() []any {
	return []any{
		&models.Distribution{}, &models.Platform{}, &models.Site{}, &models.Comparison{}, &models.Task{}, &models.TaskLine{},
		&models.Check{}, &models.Queue{}, &models.Upgrade{}, &models.UpgradeStep{}, &models.Event{}, &models.User{},
		&models.LoginLink{}, &session{}, &formToken{}, &models.Upstream{}, &models.Host{}, &models.SourceState{}, &platformPlan{},
		&models.Webhook{}, &models.WebhookSecret{}, &models.Delivery{},
		models.Webhook{},
		&models.WebhookSecret{}, &models.Delivery{}, &models.Backup{}, &models.DatabaseServer{}, &siteName{}, &models.Token{}, &models.Reply{}, &models.Client{},
		&models.Channel{}, &models.Notice{}, &models.NoticeMessage{}, &models.NoticeAttempt{},
		&models.Server{}, &models.ServerJoin{}, &models.ServerKey{}, &models.ServerPlatform{}, &models.Relocation{},
		&models.SignIn{}, &models.SecondFactor{}, &models.RecoveryCode{}, &models.Identity{}, &models.Throttle{},
	}
}

func openBoth(t *testing.T) map[string]*Store {
	t.Helper()
	both := map[string]*Store{}
	for name, dsn := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "x.db"), "postgres": testpg.Empty(t)} {
		s, err := Open(t.Context(), dsn, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		both[name] = s
	}
	return both
}

// changes collects the statements that change a schema.
type changes struct {
	logger.Interface
	statements []string
}

func (c *changes) LogMode(logger.LogLevel) logger.Interface { return c }

func (c *changes) Trace(_ context.Context, _ time.Time, query func() (string, int64), _ error) {
	text, _ := query()
	if regexp.MustCompile(`(?i)^\s*(CREATE|ALTER|DROP|INSERT)\b`).MatchString(text) {
		c.statements = append(c.statements, text)
	}
}

// nullable tells whether a column may be NULL: pointers may, and lists and maps
// whose empty value the serializer writes so.
func nullable(f *schema.Field) bool {
	kind := f.FieldType.Kind()
	return kind == reflect.Pointer || f.Name == "Secrets" || f.Name == "Secret" || f.Serializer != nil && (kind == reflect.Slice || kind == reflect.Map)
}

func TestMigrations_MatchModels(t *testing.T) {
	for name, s := range openBoth(t) {
		t.Run(name, func(t *testing.T) {
			seen := &changes{Interface: logger.Discard}
			db, err := gorm.Open(s.engine.dialector(), &gorm.Config{Logger: seen})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows() {
				statement := &gorm.Statement{DB: db}
				if err := statement.Parse(row); err != nil {
					t.Fatal(err)
				}
				// The parsed schema is cached and AutoMigrate uses it.
				for _, field := range statement.Schema.Fields {
					field.NotNull = !nullable(field)
				}
			}
			if err := db.AutoMigrate(rows()...); err != nil {
				t.Fatal(err)
			}
			for _, statement := range seen.statements {
				t.Errorf("the migrations lack: %s", statement)
			}
			for _, row := range rows() {
				compareNulls(t, db, row)
			}
		})
	}
}

// compareNulls checks what AutoMigrate does not: NULL where the model has none.
func compareNulls(t *testing.T, db *gorm.DB, row any) {
	t.Helper()
	columns, err := db.Migrator().ColumnTypes(row)
	if err != nil {
		t.Fatal(err)
	}
	statement := &gorm.Statement{DB: db}
	if err := statement.Parse(row); err != nil {
		t.Fatal(err)
	}
	for _, column := range columns {
		field := statement.Schema.LookUpField(column.Name())
		if field == nil || field.PrimaryKey {
			continue
		}
		if null, known := column.Nullable(); known && null != nullable(field) {
			t.Errorf("%s.%s: NULL allowed is %v, want %v", statement.Table, column.Name(), null, nullable(field))
		}
	}
}

// portable gives both databases' types one name.
func portable(kind string) string {
	switch strings.ToLower(kind) {
	case "bigint", "int8", "integer":
		return "integer"
	case "timestamptz", "timestamp with time zone", "datetime":
		return "time"
	case "boolean", "bool", "numeric":
		return "boolean"
	case "bytea", "blob":
		return "bytes"
	}
	return strings.ToLower(kind)
}

const sqliteColumns = `SELECT m.name || '.' || c.name, c.type, c."notnull" OR c.pk FROM sqlite_master m, pragma_table_xinfo(m.name) c
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'goose_db_version'`

const postgresColumns = `SELECT table_name || '.' || column_name, data_type, is_nullable = 'NO' FROM information_schema.columns
WHERE table_schema = 'public' AND table_name <> 'goose_db_version'`

const sqliteIndexes = `SELECT i.name, i."unique", i.partial, COALESCE((SELECT group_concat(COALESCE(c.name, 'expression')) FROM pragma_index_info(i.name) c), '')
FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i.origin = 'c'`

const postgresIndexes = `SELECT c.relname, i.indisunique, i.indpred IS NOT NULL,
  (SELECT string_agg(COALESCE(a.attname, 'expression'), ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(attnum, n)
   LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace s ON s.oid = c.relnamespace
WHERE s.nspname = 'public' AND NOT i.indisprimary AND c.relname NOT LIKE 'goose%'`

const sqliteKeys = `SELECT m.name || '.' || f."from" || ' -> ' || f."table" || '.' || f."to" || ' ' || f.on_delete
FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`

const postgresKeys = `SELECT t.relname || '.' || a.attname || ' -> ' || r.relname || '.' || b.attname || ' ' ||
  CASE k.confdeltype WHEN 'a' THEN 'NO ACTION' WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' ELSE k.confdeltype::text END
FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.conkey[1] JOIN pg_attribute b ON b.attrelid = r.oid AND b.attnum = k.confkey[1]
WHERE k.contype = 'f'`

// describe lists what a schema consists of, in words that both databases share.
func describe(t *testing.T, s *Store) []string {
	t.Helper()
	columns, indexes, keys := sqliteColumns, sqliteIndexes, sqliteKeys
	if s.engine.pool() != nil {
		columns, indexes, keys = postgresColumns, postgresIndexes, postgresKeys
	}
	var list []string
	read(t, s, columns, func(scan func(...any) error) error {
		var name, kind string
		var notNull bool
		err := scan(&name, &kind, &notNull)
		list = append(list, fmt.Sprintf("column %s %s not null %v", name, portable(kind), notNull))
		return err
	})
	read(t, s, indexes, func(scan func(...any) error) error {
		var name, on string
		var unique, partial bool
		err := scan(&name, &unique, &partial, &on)
		list = append(list, fmt.Sprintf("index %s on %s unique %v partial %v", name, on, unique, partial))
		return err
	})
	read(t, s, keys, func(scan func(...any) error) error {
		var key string
		err := scan(&key)
		list = append(list, "key "+key)
		return err
	})
	for name, values := range checked(t, s) {
		list = append(list, fmt.Sprintf("check %s %s", name, values))
	}
	return list
}

func read(t *testing.T, s *Store, query string, row func(scan func(...any) error) error) {
	t.Helper()
	found, err := s.engine.sql().QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close() // Err says what Close would
	for found.Next() {
		if err := row(found.Scan); err != nil {
			t.Fatal(err)
		}
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
}

// checked lists the values that CHECK constraints allow, by table.column.
func checked(t *testing.T, s *Store) map[string][]string {
	t.Helper()
	query := `SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql LIKE '%CHECK%'`
	constraint := regexp.MustCompile(`CHECK \("?(\w+)"? IN \((.*?)\)\)`)
	if s.engine.pool() != nil {
		query = `SELECT t.relname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid WHERE k.contype = 'c'`
		constraint = regexp.MustCompile(`CHECK \(\("?(\w+)"? = ANY \(ARRAY\[(.*?)\]\)\)\)`)
	}
	quoted := regexp.MustCompile(`'([^']*)'`)
	all := map[string][]string{}
	read(t, s, query, func(scan func(...any) error) error {
		var table, text string
		err := scan(&table, &text)
		for _, match := range constraint.FindAllStringSubmatch(text, -1) {
			var values []string
			for _, value := range quoted.FindAllStringSubmatch(match[2], -1) {
				values = append(values, value[1])
			}
			slices.Sort(values)
			all[table+"."+match[1]] = values
		}
		return err
	})
	return all
}

func TestMigrations_BothDialectsAgree(t *testing.T) {
	both := openBoth(t)
	sqlite, postgres := describe(t, both["sqlite"]), describe(t, both["postgres"])
	if len(sqlite) < 200 {
		t.Fatalf("only %d parts were found", len(sqlite))
	}
	for _, part := range sqlite {
		if !slices.Contains(postgres, part) {
			t.Errorf("only in SQLite: %s", part)
		}
	}
	for _, part := range postgres {
		if !slices.Contains(sqlite, part) {
			t.Errorf("only in PostgreSQL: %s", part)
		}
	}
}

func TestMigrations_SameNames(t *testing.T) {
	sqlite, errSQLite := migrations.SQLite()
	postgres, errPostgres := migrations.Postgres()
	if errSQLite != nil || errPostgres != nil {
		t.Fatal(errSQLite, errPostgres)
	}
	a, errA := fs.Glob(sqlite, "*")
	b, errB := fs.Glob(postgres, "*")
	if errA != nil || errB != nil || len(a) == 0 {
		t.Fatal(a, errA, errB)
	}
	if !slices.Equal(a, b) {
		t.Fatalf("SQLite has %v, PostgreSQL has %v", a, b)
	}
}

func states[S ~string](table models.Transitions[S]) []string {
	var all []string
	for state := range maps.Keys(table) {
		all = append(all, string(state))
	}
	return all
}

func texts[S ~string](values ...S) []string {
	var all []string
	for _, value := range values {
		all = append(all, string(value))
	}
	return all
}

func TestMigrations_ChecksMirrorModels(t *testing.T) {
	allowed := map[string][]string{
		"platforms.state":     states(models.PlatformTransitions()),
		"sites.state":         states(models.SiteTransitions()),
		"upgrades.state":      states(models.UpgradeTransitions()),
		"tasks.state":         states(models.TaskTransitions()),
		"upgrade_steps.name":  texts(models.StepsOf(models.KindUpgrade, models.ModeUnknown)...),
		"upgrade_steps.state": texts(models.StepPending, models.StepRunning, models.StepDone, models.StepSkipped, models.StepFailed, models.StepUndone),
		"upgrades.mode":       texts(models.ModeUnknown, models.ModeCode, models.ModeDatabase),
		"task_lines.level":    texts(models.LevelOut, models.LevelErr, models.LevelInfo, models.LevelWarn, models.LevelError),
		"checks.trigger":      texts(models.TriggerQueue, models.TriggerButton, models.TriggerSave, models.TriggerWebhook),
		"checks.outcome":      texts(models.CheckUnchanged, models.CheckChanged, models.CheckHeld, models.CheckFailed, models.CheckThrottled, models.CheckBlocked),
		"distributions.condition": texts(models.ConditionNew, models.ConditionCurrent, models.ConditionChanged,
			models.ConditionFailing, models.ConditionHeld),
		"servers.state":          texts(models.ServerStates()...),
		"server_platforms.state": texts(models.DeliveryStates()...),
		"relocations.state":      states(models.RelocationTransitions()),
		"webhooks.provider":      texts(models.Providers()...),
		"deliveries.outcome":     texts(models.DeliveryOutcomes()...),
	}
	for name, s := range openBoth(t) {
		found := checked(t, s)
		for column, values := range allowed {
			slices.Sort(values)
			if !slices.Equal(found[column], values) {
				t.Errorf("%s: %s allows %v, the models have %v", name, column, found[column], values)
			}
		}
	}
}

// TestMigrations_DownAndUp proves that the schema can be taken back.
func TestMigrations_DownAndUp(t *testing.T) {
	for name, s := range openBoth(t) {
		p, err := s.engine.provider()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.DownTo(t.Context(), 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if left := describe(t, s); len(left) > 0 {
			t.Errorf("%s: left after going back: %v", name, left)
		}
		if _, err := p.Up(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
