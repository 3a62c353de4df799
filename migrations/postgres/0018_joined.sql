-- +goose Up
-- The index of a search knows three letters at a time, and what is between words not at
-- all. Host names are words of which many sites have each, so what is between them is
-- kept as if it was letters: the index knows then which words stand side by side.
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
-- A search among the sites that are behind reads these alone.
CREATE INDEX sites_platform_text ON sites (platform_id, state, held) INCLUDE (found_by, uri, id) WHERE state <> 'deleted';
DROP INDEX sites_free;
CREATE INDEX sites_free ON sites (uri, platform_id, id) INCLUDE (found_by) WHERE state = 'enabled' AND NOT held;

-- +goose Down
DROP INDEX sites_free;
CREATE INDEX sites_free ON sites (uri, platform_id, id) WHERE state = 'enabled' AND NOT held;
DROP INDEX sites_platform_text;
ALTER TABLE sites DROP COLUMN found_by;
ALTER TABLE sites ADD COLUMN found_by text GENERATED ALWAYS AS (lower(uri || ' ' || title)) STORED;
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
