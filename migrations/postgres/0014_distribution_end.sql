-- +goose Up
-- A distribution that is deleted keeps its row, for its platforms and the record.
-- Its names are free again.
ALTER TABLE distributions ADD COLUMN deleted_at timestamptz;
DROP INDEX distributions_slug;
DROP INDEX distributions_name;
CREATE UNIQUE INDEX distributions_slug ON distributions (slug) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX distributions_name ON distributions (lower(name)) WHERE deleted_at IS NULL;

-- +goose Down
DROP INDEX distributions_name;
DROP INDEX distributions_slug;
UPDATE distributions SET name = name || ' (deleted ' || id || ')', slug = 'deleted-' || id WHERE deleted_at IS NOT NULL;
CREATE UNIQUE INDEX distributions_slug ON distributions (slug);
CREATE UNIQUE INDEX distributions_name ON distributions (lower(name));
ALTER TABLE distributions DROP COLUMN deleted_at;
