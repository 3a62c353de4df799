-- +goose Up
CREATE TABLE database_servers (
  id bigserial PRIMARY KEY,
  name text NOT NULL,
  engine text NOT NULL CHECK (engine IN ('mysql', 'postgres')),
  host text NOT NULL,
  port bigint NOT NULL,
  "user" text NOT NULL,
  secret bytea,
  tls text NOT NULL CHECK (tls IN ('off', 'require', 'verify')),
  clients text NOT NULL,
  prefix text NOT NULL,
  "default" boolean NOT NULL,
  version text NOT NULL,
  reason text NOT NULL,
  tested_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX database_servers_name ON database_servers (name);

ALTER TABLE sites ADD COLUMN aliases text;
ALTER TABLE sites ADD COLUMN redirect boolean NOT NULL DEFAULT false;
ALTER TABLE sites ADD COLUMN https text NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN certificate text NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN certificate_key text NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN database_server_id bigint REFERENCES database_servers (id);
ALTER TABLE sites ADD COLUMN language text NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN probes text;
ALTER TABLE sites ADD COLUMN probe_text text NOT NULL DEFAULT '';
ALTER TABLE sites ADD COLUMN cron_every bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN cron_next_at timestamptz;
ALTER TABLE sites ADD COLUMN backup_every bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN backup_keep bigint NOT NULL DEFAULT 0;
ALTER TABLE sites ADD COLUMN backup_next_at timestamptz;
ALTER TABLE sites ADD COLUMN held_until timestamptz;
CREATE INDEX sites_cron ON sites (cron_next_at) WHERE cron_every > 0;
CREATE INDEX sites_backup ON sites (backup_next_at) WHERE backup_every > 0;
CREATE INDEX sites_held ON sites (held_until) WHERE held_until IS NOT NULL;

-- Every host name belongs to one site at most, be it its own or an alias.
CREATE TABLE site_names (
  name text PRIMARY KEY NOT NULL,
  site_id bigint NOT NULL REFERENCES sites (id) ON DELETE CASCADE
);
CREATE INDEX site_names_site ON site_names (site_id);
INSERT INTO site_names (name, site_id) SELECT uri, id FROM sites WHERE state <> 'deleted';

CREATE TABLE backups (
  id bigserial PRIMARY KEY,
  site_id bigint NOT NULL REFERENCES sites (id),
  task_id bigint NOT NULL,
  uri text NOT NULL,
  platform_id bigint NOT NULL REFERENCES platforms (id),
  purpose text NOT NULL CHECK (purpose IN ('manual', 'schedule', 'delete', 'rollback', 'restore')),
  state text NOT NULL CHECK (state IN ('making', 'ready', 'failed', 'deleted')),
  note text NOT NULL,
  path text NOT NULL,
  engine text NOT NULL,
  drupal_version text NOT NULL,
  profile text NOT NULL,
  bytes bigint NOT NULL,
  digest text NOT NULL,
  tables bigint NOT NULL,
  files bigint NOT NULL,
  keep boolean NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL,
  ended_at timestamptz
);
CREATE INDEX backups_site ON backups (site_id, id);
CREATE INDEX backups_platform ON backups (platform_id);

ALTER TABLE upgrades ADD COLUMN kind text NOT NULL DEFAULT 'upgrade';
ALTER TABLE upgrades ADD COLUMN undoes_id bigint REFERENCES upgrades (id);
ALTER TABLE upgrades ADD COLUMN backup_id bigint REFERENCES backups (id);
ALTER TABLE upgrades ADD COLUMN marks text;
ALTER TABLE upgrades ADD COLUMN rolled_back_at timestamptz;

ALTER TABLE distributions ADD COLUMN keep_platforms bigint NOT NULL DEFAULT 0;

-- What a task found, for the page that asked.
ALTER TABLE tasks ADD COLUMN result text NOT NULL DEFAULT '';

CREATE TABLE tokens (
  id bigserial PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name text NOT NULL,
  hash text NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,
  created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX tokens_hash ON tokens (hash);
CREATE UNIQUE INDEX tokens_name ON tokens (user_id, name);

-- +goose Down
DROP TABLE tokens;
ALTER TABLE tasks DROP COLUMN result;
ALTER TABLE distributions DROP COLUMN keep_platforms;
ALTER TABLE upgrades DROP COLUMN rolled_back_at;
ALTER TABLE upgrades DROP COLUMN marks;
ALTER TABLE upgrades DROP COLUMN backup_id;
ALTER TABLE upgrades DROP COLUMN undoes_id;
ALTER TABLE upgrades DROP COLUMN kind;
DROP TABLE backups;
DROP TABLE site_names;
DROP INDEX sites_held;
DROP INDEX sites_backup;
DROP INDEX sites_cron;
ALTER TABLE sites DROP COLUMN held_until;
ALTER TABLE sites DROP COLUMN backup_next_at;
ALTER TABLE sites DROP COLUMN backup_keep;
ALTER TABLE sites DROP COLUMN backup_every;
ALTER TABLE sites DROP COLUMN cron_next_at;
ALTER TABLE sites DROP COLUMN cron_every;
ALTER TABLE sites DROP COLUMN probe_text;
ALTER TABLE sites DROP COLUMN probes;
ALTER TABLE sites DROP COLUMN language;
ALTER TABLE sites DROP COLUMN database_server_id;
ALTER TABLE sites DROP COLUMN certificate_key;
ALTER TABLE sites DROP COLUMN certificate;
ALTER TABLE sites DROP COLUMN https;
ALTER TABLE sites DROP COLUMN redirect;
ALTER TABLE sites DROP COLUMN aliases;
DROP TABLE database_servers;
