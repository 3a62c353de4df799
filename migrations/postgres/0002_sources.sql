-- +goose Up
CREATE TABLE upstreams (
  id bigserial PRIMARY KEY,
  update_type text NOT NULL,
  key text NOT NULL CHECK (key <> ''),
  host text NOT NULL,
  next_check_at timestamptz,
  last_check_at timestamptz,
  last_change_at timestamptz NOT NULL,
  hook_at timestamptz,
  failures bigint NOT NULL,
  stalled boolean NOT NULL,
  reason text NOT NULL,
  message text NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX upstreams_key ON upstreams (update_type, key);
CREATE INDEX upstreams_due ON upstreams (update_type, next_check_at);
CREATE INDEX upstreams_host ON upstreams (host);

CREATE TABLE hosts (
  name text PRIMARY KEY NOT NULL,
  at_once bigint NOT NULL CHECK (at_once > 0),
  per_minute bigint NOT NULL CHECK (per_minute > 0),
  tokens bigint NOT NULL,
  refilled_at timestamptz NOT NULL,
  blocked_until timestamptz,
  throttled bigint NOT NULL,
  requests bigint NOT NULL,
  day text NOT NULL
);

DROP INDEX distributions_due;
ALTER TABLE distributions DROP COLUMN next_check_at;
ALTER TABLE distributions ADD COLUMN upstream_id bigint;
ALTER TABLE distributions ADD COLUMN secrets bytea;
ALTER TABLE distributions ADD COLUMN rebuild_days bigint NOT NULL DEFAULT 0;
ALTER TABLE distributions ADD COLUMN reason_code text NOT NULL DEFAULT '';
CREATE INDEX distributions_upstream ON distributions (upstream_id);
CREATE INDEX distributions_type ON distributions (update_type);

CREATE TABLE source_states (
  distribution_id bigint PRIMARY KEY NOT NULL REFERENCES distributions (id) ON DELETE CASCADE,
  accepted text NOT NULL,
  pending text NOT NULL
);

ALTER TABLE platforms ADD COLUMN facts text;
ALTER TABLE platforms ADD COLUMN sources text;
ALTER TABLE platforms ADD COLUMN audit text;
ALTER TABLE platforms ADD COLUMN standing text;
ALTER TABLE platforms ADD COLUMN security boolean NOT NULL DEFAULT false;
ALTER TABLE platforms ADD COLUMN at_risk boolean NOT NULL DEFAULT false;

CREATE TABLE platform_plans (
  platform_id bigint PRIMARY KEY NOT NULL REFERENCES platforms (id) ON DELETE CASCADE,
  plan text NOT NULL
);

ALTER TABLE checks DROP CONSTRAINT checks_trigger_check;
ALTER TABLE checks ADD CONSTRAINT checks_trigger_check CHECK ("trigger" IN ('queue', 'button', 'save', 'webhook'));
ALTER TABLE checks DROP CONSTRAINT checks_outcome_check;
ALTER TABLE checks ADD CONSTRAINT checks_outcome_check CHECK (outcome IN ('unchanged', 'changed', 'held', 'failed', 'throttled', 'blocked'));
ALTER TABLE checks ADD COLUMN reason text NOT NULL DEFAULT '';
ALTER TABLE checks ADD COLUMN requests bigint NOT NULL DEFAULT 0;
ALTER TABLE checks ADD COLUMN received bigint NOT NULL DEFAULT 0;

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
ALTER TABLE distributions ADD COLUMN next_check_at timestamptz;
CREATE INDEX distributions_due ON distributions (update_type, next_check_at);
DROP TABLE hosts;
DROP TABLE upstreams;
DELETE FROM checks WHERE outcome IN ('throttled', 'blocked') OR "trigger" = 'webhook';
ALTER TABLE checks DROP COLUMN received;
ALTER TABLE checks DROP COLUMN requests;
ALTER TABLE checks DROP COLUMN reason;
