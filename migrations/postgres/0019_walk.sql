-- +goose Up
-- What is between words is kept as letters, as 0018 says, but as letters that PostgreSQL
-- takes for such in every locale. All others are small, so these mean nothing else, and
-- in the index, which does not tell them apart, hardly any name has them beside these.
-- And what changed goes into the index at once: it stood in a heap beside it until the
-- next vacuum, and every search went through that.
DROP INDEX IF EXISTS sites_text;
DROP INDEX sites_platform_text;
DROP INDEX sites_free;
ALTER TABLE sites DROP COLUMN found_by;
ALTER TABLE sites ADD COLUMN found_by text GENERATED ALWAYS AS (translate(lower(uri || ' ' || title), ' -.', 'QXZ')) STORED;
-- +goose StatementBegin
DO $$
BEGIN
  CREATE INDEX sites_text ON sites USING gin (found_by gin_trgm_ops) WITH (fastupdate = off);
EXCEPTION
  WHEN undefined_object THEN
    RAISE NOTICE 'pg_trgm is not installed, so searches in large fleets are slow';
END
$$;
-- +goose StatementEnd
ALTER INDEX IF EXISTS tasks_text SET (fastupdate = off);
CREATE INDEX sites_platform_text ON sites (platform_id, state, held) INCLUDE (found_by, uri, id) WHERE state <> 'deleted';
-- A search that many sites fit reads the first of them here, in the order of the list and
-- nothing else, as does one among the sites that are behind.
CREATE INDEX sites_list_text ON sites (uri, id) INCLUDE (platform_id, state, held, found_by) WHERE state <> 'deleted';

-- +goose Down
ALTER INDEX IF EXISTS tasks_text RESET (fastupdate);
DROP INDEX sites_list_text;
DROP INDEX sites_platform_text;
DROP INDEX IF EXISTS sites_text;
ALTER TABLE sites DROP COLUMN found_by;
ALTER TABLE sites ADD COLUMN found_by text GENERATED ALWAYS AS (translate(lower(uri || ' ' || title), ' -.', 'ǀǁǂ')) STORED;
-- +goose StatementBegin
DO $$
BEGIN
  CREATE INDEX sites_text ON sites USING gin (found_by gin_trgm_ops);
EXCEPTION
  WHEN undefined_object THEN
    RAISE NOTICE 'pg_trgm is not installed, so searches in large fleets are slow';
END
$$;
-- +goose StatementEnd
CREATE INDEX sites_platform_text ON sites (platform_id, state, held) INCLUDE (found_by, uri, id) WHERE state <> 'deleted';
CREATE INDEX sites_free ON sites (uri, platform_id, id) INCLUDE (found_by) WHERE state = 'enabled' AND NOT held;
