-- +goose Up
-- Web hosts with a worker of their own. What has no server is on the host of the
-- control plane, as everything was until now.
CREATE TABLE servers (
  id integer PRIMARY KEY AUTOINCREMENT,
  name text NOT NULL CHECK (name <> ''),
  address text NOT NULL,
  state text NOT NULL CHECK (state IN ('invited', 'joined', 'removed')),
  role text NOT NULL,
  recipient text NOT NULL,
  version text NOT NULL,
  created_at datetime NOT NULL,
  joined_at datetime,
  seen_at datetime
);
CREATE UNIQUE INDEX servers_name ON servers (name) WHERE state <> 'removed';

-- What workers prove themselves with. No worker may read it.
CREATE TABLE server_joins (
  server_id integer PRIMARY KEY NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  token_hash text NOT NULL,
  expires_at datetime NOT NULL,
  key_hash text NOT NULL
);

-- Passwords of database servers, sealed for one server's worker each.
CREATE TABLE server_keys (
  server_id integer NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  database_server_id integer NOT NULL REFERENCES database_servers (id) ON DELETE CASCADE,
  sealed blob NOT NULL,
  source text NOT NULL,
  PRIMARY KEY (server_id, database_server_id)
);

-- Which server holds which platform.
CREATE TABLE server_platforms (
  id integer PRIMARY KEY AUTOINCREMENT,
  server_id integer NOT NULL REFERENCES servers (id),
  platform_id integer NOT NULL REFERENCES platforms (id),
  digest text NOT NULL,
  state text NOT NULL CHECK (state IN ('delivering', 'ready', 'failed')),
  reason text NOT NULL,
  created_at datetime NOT NULL,
  updated_at datetime NOT NULL
);
CREATE UNIQUE INDEX server_platforms_one ON server_platforms (server_id, platform_id);
CREATE INDEX server_platforms_platform ON server_platforms (platform_id);

ALTER TABLE sites ADD COLUMN server_id integer REFERENCES servers (id);
CREATE INDEX sites_server ON sites (server_id, state) WHERE server_id IS NOT NULL;
-- Whose queue a task is in.
ALTER TABLE tasks ADD COLUMN server_id integer REFERENCES servers (id);
CREATE INDEX tasks_server ON tasks (server_id, id) WHERE server_id IS NOT NULL;

-- +goose Down
DROP INDEX tasks_server;
ALTER TABLE tasks DROP COLUMN server_id;
DROP INDEX sites_server;
ALTER TABLE sites DROP COLUMN server_id;
DROP TABLE server_platforms;
DROP TABLE server_keys;
DROP TABLE server_joins;
DROP TABLE servers;
