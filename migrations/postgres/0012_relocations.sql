-- +goose Up
-- Sites on their way from one server to another.
CREATE TABLE relocations (
  id bigserial PRIMARY KEY,
  task_id bigint NOT NULL REFERENCES tasks (id),
  site_id bigint NOT NULL REFERENCES sites (id),
  from_id bigint REFERENCES servers (id),
  to_id bigint REFERENCES servers (id),
  state text NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'placing', 'ready', 'handing', 'closed', 'proven', 'sealed', 'switched', 'open', 'done', 'failed')),
  reason text NOT NULL,
  site text NOT NULL,
  origin text NOT NULL,
  target text NOT NULL,
  first text NOT NULL,
  second text NOT NULL,
  database text NOT NULL,
  backups text NOT NULL,
  closed_at timestamptz,
  opened_at timestamptz,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  swept_at timestamptz
);
CREATE UNIQUE INDEX relocations_task ON relocations (task_id);
CREATE INDEX relocations_site ON relocations (site_id, id);
-- What was left on an old server.
CREATE INDEX relocations_left ON relocations (ended_at) WHERE swept_at IS NULL AND state = 'done';

-- +goose Down
DROP TABLE relocations;
