-- +goose Up
CREATE TABLE distributions (
  id bigserial PRIMARY KEY,
  name text NOT NULL,
  slug text NOT NULL,
  update_type text NOT NULL,
  settings text,
  check_every bigint,
  target_id bigint,
  observed text NOT NULL,
  signature text NOT NULL,
  condition text NOT NULL CHECK (condition IN ('new', 'current', 'changed', 'failing', 'held')),
  reason text NOT NULL,
  last_check_at timestamptz,
  next_check_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX distributions_slug ON distributions (slug);
CREATE UNIQUE INDEX distributions_name ON distributions (lower(name));
CREATE INDEX distributions_due ON distributions (update_type, next_check_at);

CREATE TABLE platforms (
  id bigserial PRIMARY KEY,
  distribution_id bigint NOT NULL REFERENCES distributions (id),
  server text NOT NULL,
  name text NOT NULL,
  root text NOT NULL,
  docroot text NOT NULL,
  revision text NOT NULL,
  content text NOT NULL,
  build_key text NOT NULL,
  label text NOT NULL,
  note text NOT NULL,
  provenance text,
  drupal_version text NOT NULL,
  php_version text NOT NULL,
  packages text,
  profiles text,
  manifest_digest text NOT NULL,
  files bigint NOT NULL,
  bytes bigint NOT NULL,
  locked boolean NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'building', 'ready', 'failed', 'deleting', 'deleted')),
  reason text NOT NULL,
  built_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX platforms_name ON platforms (name) WHERE state <> 'deleted';
CREATE INDEX platforms_distribution ON platforms (distribution_id, id);
ALTER TABLE distributions ADD CONSTRAINT distributions_target_id_fkey FOREIGN KEY (target_id) REFERENCES platforms (id);
CREATE INDEX platforms_state ON platforms (state, id);

CREATE TABLE sites (
  id bigserial PRIMARY KEY,
  uri text NOT NULL,
  platform_id bigint NOT NULL REFERENCES platforms (id),
  server text NOT NULL,
  database text NOT NULL,
  profile text NOT NULL,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('installing', 'enabled', 'disabled', 'upgrading', 'broken', 'deleting', 'deleted')),
  held boolean NOT NULL,
  held_reason text NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX sites_uri ON sites (uri) WHERE state <> 'deleted';
CREATE INDEX sites_platform ON sites (platform_id, state);
CREATE INDEX sites_state ON sites (state, uri);

CREATE TABLE comparisons (
  id bigserial PRIMARY KEY,
  site_id bigint NOT NULL REFERENCES sites (id),
  from_platform_id bigint NOT NULL REFERENCES platforms (id),
  platform_id bigint NOT NULL REFERENCES platforms (id),
  updates text,
  blockers text,
  took bigint NOT NULL,
  made_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX comparisons_site ON comparisons (site_id);

CREATE TABLE tasks (
  id bigserial PRIMARY KEY,
  kind text NOT NULL CHECK (kind <> ''),
  subject_kind text NOT NULL CHECK (subject_kind <> ''),
  subject_id bigint NOT NULL,
  title text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'warning', 'recovered', 'failed', 'cancelled')),
  parent_id bigint REFERENCES tasks (id) ON DELETE SET NULL,
  attempt bigint NOT NULL,
  actor text NOT NULL,
  args text,
  message text NOT NULL,
  cancel boolean NOT NULL,
  created_at timestamptz NOT NULL,
  started_at timestamptz,
  ended_at timestamptz,
  line_count bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX tasks_one_per_subject ON tasks (subject_kind, subject_id) WHERE state IN ('queued', 'running');
CREATE INDEX tasks_subject ON tasks (subject_kind, subject_id, id);
CREATE INDEX tasks_parent ON tasks (parent_id);
CREATE INDEX tasks_state ON tasks (state, id);
CREATE INDEX tasks_ended ON tasks (ended_at, id);

CREATE TABLE task_lines (
  id bigserial PRIMARY KEY,
  task_id bigint NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
  at timestamptz NOT NULL,
  step text NOT NULL,
  level text NOT NULL CHECK (level IN ('out', 'err', 'info', 'warn', 'error')),
  text text NOT NULL
);
CREATE INDEX task_lines_task ON task_lines (task_id, id);

CREATE TABLE checks (
  id bigserial PRIMARY KEY,
  distribution_id bigint NOT NULL REFERENCES distributions (id),
  task_id bigint REFERENCES tasks (id) ON DELETE SET NULL,
  "trigger" text NOT NULL CHECK ("trigger" IN ('queue', 'button', 'save')),
  outcome text NOT NULL CHECK (outcome IN ('unchanged', 'changed', 'held', 'failed')),
  old_revision text NOT NULL,
  new_revision text NOT NULL,
  message text NOT NULL,
  times bigint NOT NULL CHECK (times > 0),
  started_at timestamptz NOT NULL,
  ended_at timestamptz NOT NULL,
  took bigint NOT NULL
);
CREATE INDEX checks_distribution ON checks (distribution_id, id);
CREATE INDEX checks_task ON checks (task_id);

CREATE TABLE queues (
  update_type text PRIMARY KEY NOT NULL,
  every bigint NOT NULL CHECK (every > 0),
  at_once bigint NOT NULL CHECK (at_once > 0),
  paused boolean NOT NULL,
  last_run_at timestamptz
);

CREATE TABLE upgrades (
  id bigserial PRIMARY KEY,
  task_id bigint NOT NULL REFERENCES tasks (id),
  site_id bigint NOT NULL REFERENCES sites (id),
  from_id bigint NOT NULL REFERENCES platforms (id),
  to_id bigint NOT NULL REFERENCES platforms (id),
  mode text NOT NULL CHECK (mode IN ('', 'code', 'database')),
  state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'recovered', 'fatal', 'cancelled')),
  old_database text NOT NULL,
  new_database text NOT NULL,
  switched boolean NOT NULL,
  failed_step text NOT NULL,
  reason text NOT NULL,
  read_only bigint NOT NULL,
  updates text,
  dropped_old_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX upgrades_task ON upgrades (task_id);
CREATE INDEX upgrades_site ON upgrades (site_id, id);
CREATE INDEX upgrades_from ON upgrades (from_id);
CREATE INDEX upgrades_to ON upgrades (to_id);
CREATE INDEX upgrades_kept ON upgrades (ended_at) WHERE state = 'succeeded' AND dropped_old_at IS NULL;

CREATE TABLE upgrade_steps (
  id bigserial PRIMARY KEY,
  upgrade_id bigint NOT NULL REFERENCES upgrades (id) ON DELETE CASCADE,
  name text NOT NULL CHECK (name IN ('preflight', 'read-only', 'copy', 'deploy', 'updatedb', 'rebuild', 'probe', 'switch', 'confirm', 'reopen', 'retire')),
  state text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'skipped', 'failed', 'undone')),
  message text NOT NULL,
  started_at timestamptz,
  ended_at timestamptz,
  undone_at timestamptz
);
CREATE UNIQUE INDEX upgrade_steps_name ON upgrade_steps (upgrade_id, name);

CREATE TABLE events (
  id bigserial PRIMARY KEY,
  at timestamptz NOT NULL,
  actor text NOT NULL,
  verb text NOT NULL,
  subject_kind text NOT NULL,
  subject_id bigint NOT NULL,
  text text NOT NULL
);
CREATE INDEX events_subject ON events (subject_kind, subject_id, id);
CREATE INDEX events_at ON events (at);

CREATE TABLE users (
  id bigserial PRIMARY KEY,
  name text NOT NULL CHECK (name <> ''),
  password_hash text NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (lower(name));

CREATE TABLE login_links (
  token_hash text PRIMARY KEY NOT NULL,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX login_links_user ON login_links (user_id);
CREATE INDEX login_links_expires ON login_links (expires_at);

CREATE TABLE sessions (
  token text PRIMARY KEY NOT NULL,
  data bytea NOT NULL,
  expiry timestamptz NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expiry);

CREATE TABLE form_tokens (
  token text PRIMARY KEY NOT NULL,
  thing_id bigint NOT NULL,
  created_at timestamptz NOT NULL
);
CREATE INDEX form_tokens_created ON form_tokens (created_at);

CREATE TABLE worker_beats (
  client_id text PRIMARY KEY NOT NULL,
  seen_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE worker_beats;
DROP TABLE form_tokens;
DROP TABLE sessions;
DROP TABLE login_links;
DROP TABLE users;
DROP TABLE events;
DROP TABLE upgrade_steps;
DROP TABLE upgrades;
DROP TABLE queues;
DROP TABLE checks;
DROP TABLE task_lines;
DROP TABLE tasks;
DROP TABLE comparisons;
DROP TABLE sites;
ALTER TABLE distributions DROP CONSTRAINT distributions_target_id_fkey;
DROP TABLE platforms;
DROP TABLE distributions;
