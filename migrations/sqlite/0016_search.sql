-- +goose Up
-- What sites are found by has a name, under which PostgreSQL keeps it with them.
DROP INDEX sites_text;
ALTER TABLE sites ADD COLUMN found_by text GENERATED ALWAYS AS (lower(uri || ' ' || title)) VIRTUAL;
CREATE INDEX sites_text ON sites (found_by);

-- +goose Down
DROP INDEX sites_text;
ALTER TABLE sites DROP COLUMN found_by;
CREATE INDEX sites_text ON sites (lower(uri || ' ' || title));
