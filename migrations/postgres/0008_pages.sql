-- +goose Up
-- Indexes for pages of fleets with 100,000 sites; see docs/sizing.md.

-- The list of sites far down: what is skipped is read from the index alone.
CREATE INDEX sites_list ON sites (uri, id) WHERE state <> 'deleted';
-- How many sites stand how on each platform is read from the index alone.
DROP INDEX sites_platform;
CREATE INDEX sites_platform ON sites (platform_id, state, held);
DROP INDEX sites_client;
CREATE INDEX sites_client ON sites (client_id, uri) WHERE client_id IS NOT NULL;
CREATE INDEX sites_database_server ON sites (database_server_id, state) WHERE database_server_id IS NOT NULL;

-- What needs a decision.
CREATE INDEX sites_broken ON sites (updated_at) WHERE state = 'broken';
CREATE INDEX upgrades_failed ON upgrades (site_id, id) WHERE state IN ('recovered', 'fatal');
CREATE INDEX distributions_condition ON distributions (condition, updated_at);
CREATE INDEX platforms_at_risk ON platforms (id) WHERE at_risk;
CREATE INDEX tasks_failed_backups ON tasks (ended_at, subject_id, id) WHERE subject_kind = 'site' AND kind = 'backup' AND state = 'failed';
CREATE INDEX tasks_backups ON tasks (subject_id, id) WHERE subject_kind = 'site' AND kind = 'backup' AND ended_at IS NOT NULL;

-- Tasks without the many checks that went well.
CREATE INDEX tasks_worth ON tasks (id) WHERE NOT (kind IN ('check', 'cron') AND actor = 'queue' AND state = 'succeeded');
CREATE INDEX tasks_spent ON tasks (ended_at) WHERE kind = 'check' AND state = 'succeeded'; -- which are deleted
CREATE INDEX tasks_recent ON tasks (ended_at, id)
  WHERE ended_at IS NOT NULL AND NOT (kind IN ('check', 'cron') AND actor = 'queue' AND state = 'succeeded');

-- Search. PostgreSQL's own pg_trgm comes with it mostly, and whoever owns a database
-- may install it; where it is missing searches work, and read the whole table.
-- +goose StatementBegin
DO $$
BEGIN
  CREATE EXTENSION IF NOT EXISTS pg_trgm;
  CREATE INDEX sites_text ON sites USING gin (lower(uri || ' ' || title) gin_trgm_ops);
  CREATE INDEX tasks_text ON tasks USING gin (lower(title) gin_trgm_ops);
  CREATE INDEX distributions_text ON distributions USING gin (lower(name || ' ' || slug) gin_trgm_ops);
EXCEPTION
  WHEN insufficient_privilege OR undefined_file OR feature_not_supported OR undefined_object THEN
    RAISE NOTICE 'pg_trgm cannot be installed, so searches in large fleets are slow: %', SQLERRM;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS distributions_text;
DROP INDEX IF EXISTS tasks_text;
DROP INDEX IF EXISTS sites_text;
DROP INDEX tasks_recent;
DROP INDEX tasks_spent;
DROP INDEX tasks_worth;
DROP INDEX tasks_backups;
DROP INDEX tasks_failed_backups;
DROP INDEX platforms_at_risk;
DROP INDEX distributions_condition;
DROP INDEX upgrades_failed;
DROP INDEX sites_broken;
DROP INDEX sites_database_server;
DROP INDEX sites_client;
CREATE INDEX sites_client ON sites (client_id) WHERE client_id IS NOT NULL;
DROP INDEX sites_platform;
CREATE INDEX sites_platform ON sites (platform_id, state);
DROP INDEX sites_list;
