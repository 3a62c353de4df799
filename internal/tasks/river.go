package tasks

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// queue is River on one of the two databases.
type queue interface {
	migrate(ctx context.Context) error
	insert(ctx context.Context, tx any, j job, queue string, priority int) error
	start(ctx context.Context) error
	stop(ctx context.Context) error
	beat(ctx context.Context) error              // says that this worker lives
	forget(ctx context.Context) error            // takes that back
	reap(ctx context.Context) (n int, err error) // gives the jobs of dead workers to living ones
}

// riverQueue is River with the transactions of one driver.
type riverQueue[T any] struct {
	client *river.Client[T]
	driver riverdriver.Driver[T]
	access Access
	id     string
	lease  time.Duration
	speech speech
	find   func(ctx context.Context, tx T, query string, args ...any) ([]dead, error)
}

// dead is a job whose worker died.
type dead struct {
	queue    string
	priority int
	args     string
}

// speech is what the two databases say differently. The database's clock is the
// only one that all hosts share.
type speech struct {
	beat   string // of the worker $1
	forget string // the worker $1, and those that died long ago
	// dead discards the running jobs of workers that did not beat for $1, such
	// as "5.000 seconds", and returns queue, priority and arguments.
	dead string
}

func postgresSpeech() speech {
	return speech{
		beat: `INSERT INTO worker_beats (client_id, seen_at) VALUES ($1, clock_timestamp())
			ON CONFLICT (client_id) DO UPDATE SET seen_at = excluded.seen_at`,
		forget: `DELETE FROM worker_beats WHERE client_id = $1 OR seen_at < clock_timestamp() - interval '1 day'`,
		dead: `UPDATE river_job SET state = 'discarded', finalized_at = now()
			WHERE state = 'running' AND kind = 'task' AND NOT EXISTS (SELECT 1 FROM worker_beats b
				WHERE b.client_id = attempted_by[array_upper(attempted_by, 1)] AND b.seen_at > clock_timestamp() - $1::interval)
			RETURNING queue, priority, args::text`,
	}
}

func sqliteSpeech() speech {
	return speech{
		beat: `INSERT INTO worker_beats (client_id, seen_at) VALUES (?1, strftime('%Y-%m-%d %H:%M:%f', 'now'))
			ON CONFLICT (client_id) DO UPDATE SET seen_at = excluded.seen_at`,
		forget: `DELETE FROM worker_beats WHERE client_id = ?1 OR seen_at < strftime('%Y-%m-%d %H:%M:%f', 'now', '-1 day')`,
		dead: `UPDATE river_job SET state = 'discarded', finalized_at = strftime('%Y-%m-%d %H:%M:%f', 'now')
			WHERE state = 'running' AND kind = 'task' AND NOT EXISTS (SELECT 1 FROM worker_beats b
				WHERE b.client_id = json_extract(river_job.attempted_by, '$[#-1]')
				AND b.seen_at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ?1))
			RETURNING queue, priority, json(args)`,
	}
}

func newQueue(access Access, cfg *river.Config, lease time.Duration) (queue, error) {
	if access.Pool != nil {
		q := &riverQueue[pgx.Tx]{
			driver: riverpgxv5.New(access.Pool), access: access, id: cfg.ID, lease: lease, speech: postgresSpeech(), find: findPostgres,
		}
		return q, q.connect(cfg)
	}
	q := &riverQueue[*sql.Tx]{
		driver: riversqlite.New(access.SQL), access: access, id: cfg.ID, lease: lease, speech: sqliteSpeech(), find: findSQLite,
	}
	return q, q.connect(cfg)
}

func (q *riverQueue[T]) connect(cfg *river.Config) (err error) {
	q.client, err = river.NewClient(q.driver, cfg)
	return err
}

func (q *riverQueue[T]) migrate(ctx context.Context) error {
	m, err := rivermigrate.New(q.driver, nil)
	if err != nil {
		return err
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

func (q *riverQueue[T]) insert(ctx context.Context, tx any, j job, queue string, priority int) error {
	bound, ok := tx.(T)
	if !ok {
		return fmt.Errorf("enqueue task %d: the transaction is a %T", j.TaskID, tx)
	}
	if _, err := q.client.InsertTx(ctx, bound, j, &river.InsertOpts{Queue: queue, Priority: priority}); err != nil {
		return fmt.Errorf("enqueue task %d: %w", j.TaskID, err)
	}
	return nil
}

func (q *riverQueue[T]) start(ctx context.Context) error { return q.client.Start(ctx) }

// stop waits for the running jobs until ctx ends, and then no longer.
func (q *riverQueue[T]) stop(ctx context.Context) error {
	err := q.client.Stop(ctx)
	if err == nil {
		return nil
	}
	short, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer done()
	return errors.Join(err, q.client.StopAndCancel(short))
}

func (q *riverQueue[T]) beat(ctx context.Context) error {
	_, err := q.access.SQL.ExecContext(ctx, q.speech.beat, q.id) //nolint:gosec // one of our two constants
	return err
}

func (q *riverQueue[T]) forget(ctx context.Context) error {
	_, err := q.access.SQL.ExecContext(ctx, q.speech.forget, q.id) //nolint:gosec // one of our two constants
	return err
}

// reap discards the jobs of dead workers and puts new ones in their place, in
// one transaction. It does not give the same job to another worker: the dead
// one may only be cut off, and would still write the job's end.
func (q *riverQueue[T]) reap(ctx context.Context) (n int, err error) {
	err = q.access.InTx(ctx, func(tx any) error {
		bound, ok := tx.(T)
		if !ok {
			return fmt.Errorf("the transaction is a %T", tx)
		}
		jobs, err := q.find(ctx, bound, q.speech.dead, fmt.Sprintf("%.3f seconds", q.lease.Seconds()))
		if err != nil {
			return err
		}
		n = len(jobs)
		for _, d := range jobs {
			var j job
			if err := json.Unmarshal([]byte(d.args), &j); err != nil {
				return fmt.Errorf("read arguments of a job: %w", err)
			}
			j.Takeovers++
			if err := q.insert(ctx, tx, j, d.queue, d.priority); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func findPostgres(ctx context.Context, tx pgx.Tx, query string, args ...any) ([]dead, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (d dead, err error) {
		return d, row.Scan(&d.queue, &d.priority, &d.args)
	})
}

func findSQLite(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]dead, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err says what Close would
	var found []dead
	for rows.Next() {
		var d dead
		if err := rows.Scan(&d.queue, &d.priority, &d.args); err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	return found, rows.Err()
}
