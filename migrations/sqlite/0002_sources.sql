-- +goose Up
CREATE TABLE upstreams (
  id integer PRIMARY KEY AUTOINCREMENT,
  update_type text NOT NULL,
  key text NOT NULL CHECK (key <> ''),
  host text NOT NULL,
  next_check_at datetime,
  last_check_at datetime,
  last_change_at datetime NOT NULL,
  hook_at datetime,
  failures integer NOT NULL,
  stalled numeric NOT NULL,
  reason text NOT NULL,
  message text NOT NULL,
  created_at datetime NOT NULL
);
CREATE UNIQUE INDEX upstreams_key ON upstreams (update_type, key);
CREATE INDEX upstreams_due ON upstreams (update_type, next_check_at);
CREATE INDEX upstreams_host ON upstreams (host);

CREATE TABLE hosts (
  name text PRIMARY KEY NOT NULL,
  at_once integer NOT NULL CHECK (at_once > 0),
  per_minute integer NOT NULL CHECK (per_minute > 0),
  tokens integer NOT NULL,
  refilled_at datetime NOT NULL,
  blocked_until datetime,
  throttled integer NOT NULL,
  requests integer NOT NULL,
  day text NOT NULL
);

DROP INDEX distributions_due;
ALTER TABLE distributions DROP COLUMN next_check_at;
ALTER TABLE distributions ADD COLUMN upstream_id integer;
ALTER TABLE distributions ADD COLUMN secrets blob;
ALTER TABLE distributions ADD COLUMN rebuild_days integer NOT NULL DEFAULT 0;
ALTER TABLE distributions ADD COLUMN reason_code text NOT NULL DEFAULT "";
CREATE INDEX distributions_upstream ON distributions (upstream_id);
CREATE INDEX distributions_type ON distributions (update_type);

CREATE TABLE source_states (
  distribution_id integer PRIMARY KEY NOT NULL REFERENCES distributions (id) ON DELETE CASCADE,
  accepted text NOT NULL,
  pending text NOT NULL
);

ALTER TABLE platforms ADD COLUMN facts text;
ALTER TABLE platforms ADD COLUMN sources text;
ALTER TABLE platforms ADD COLUMN audit text;
ALTER TABLE platforms ADD COLUMN standing text;
ALTER TABLE platforms ADD COLUMN security numeric NOT NULL DEFAULT 0;
ALTER TABLE platforms ADD COLUMN at_risk numeric NOT NULL DEFAULT 0;

CREATE TABLE platform_plans (
  platform_id integer PRIMARY KEY NOT NULL REFERENCES platforms (id) ON DELETE CASCADE,
  plan text NOT NULL
);

-- A CHECK cannot be changed, so the table is made anew.
DROP INDEX checks_distribution;
DROP INDEX checks_task;
ALTER TABLE checks RENAME TO checks_1;
CREATE TABLE checks (
  id integer PRIMARY KEY AUTOINCREMENT,
  distribution_id integer NOT NULL REFERENCES distributions (id),
  task_id integer REFERENCES tasks (id) ON DELETE SET NULL,
  "trigger" text NOT NULL CHECK ("trigger" IN ('queue', 'button', 'save', 'webhook')),
  outcome text NOT NULL CHECK (outcome IN ('unchanged', 'changed', 'held', 'failed', 'throttled', 'blocked')),
  old_revision text NOT NULL,
  new_revision text NOT NULL,
  message text NOT NULL,
  times integer NOT NULL CHECK (times > 0),
  started_at datetime NOT NULL,
  ended_at datetime NOT NULL,
  took integer NOT NULL,
  reason text NOT NULL DEFAULT "",
  requests integer NOT NULL DEFAULT 0,
  received integer NOT NULL DEFAULT 0
);
INSERT INTO checks SELECT *, '', 0, 0 FROM checks_1;
DROP TABLE checks_1;
CREATE INDEX checks_distribution ON checks (distribution_id, id);
CREATE INDEX checks_task ON checks (task_id);

-- Checks are of upstreams now; tasks of the old kind would find none.
UPDATE tasks SET state = 'cancelled', message = 'Hefring was upgraded; the check is made again.', ended_at = created_at
  WHERE kind = 'check' AND state IN ('queued', 'running');

-- +goose Down
DROP TABLE platform_plans;
ALTER TABLE platforms DROP COLUMN at_risk;
ALTER TABLE platforms DROP COLUMN security;
ALTER TABLE platforms DROP COLUMN standing;
ALTER TABLE platforms DROP COLUMN audit;
ALTER TABLE platforms DROP COLUMN sources;
ALTER TABLE platforms DROP COLUMN facts;
DROP TABLE source_states;
DROP INDEX distributions_upstream;
DROP INDEX distributions_type;
ALTER TABLE distributions DROP COLUMN reason_code;
ALTER TABLE distributions DROP COLUMN rebuild_days;
ALTER TABLE distributions DROP COLUMN secrets;
ALTER TABLE distributions DROP COLUMN upstream_id;
ALTER TABLE distributions ADD COLUMN next_check_at datetime;
CREATE INDEX distributions_due ON distributions (update_type, next_check_at);
DROP TABLE hosts;
DROP TABLE upstreams;
DELETE FROM checks WHERE outcome IN ('throttled', 'blocked') OR "trigger" = 'webhook';
ALTER TABLE checks DROP COLUMN received;
ALTER TABLE checks DROP COLUMN requests;
ALTER TABLE checks DROP COLUMN reason;
