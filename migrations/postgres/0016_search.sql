-- +goose Up
-- What sites are found by is kept with them: making it anew for each row that a search
-- looks at took most of the search.
ALTER TABLE sites ADD COLUMN found_by text GENERATED ALWAYS AS (lower(uri || ' ' || title)) STORED;
DROP INDEX IF EXISTS sites_text;
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

-- +goose Down
ALTER TABLE sites DROP COLUMN found_by;
-- +goose StatementBegin
DO $$
BEGIN
  CREATE INDEX sites_text ON sites USING gin (lower(uri || ' ' || title) gin_trgm_ops);
EXCEPTION
  WHEN undefined_object THEN
    RAISE NOTICE 'pg_trgm is not installed, so searches in large fleets are slow';
END
$$;
-- +goose StatementEnd
