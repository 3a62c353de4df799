-- +goose Up
-- A search among the sites that are behind reads these alone. What sites are found by
-- stays as it is: SQLite reads all of it, which is quick with the fleets that it is for.
CREATE INDEX sites_platform_text ON sites (platform_id, state, held, found_by, uri, id) WHERE state <> 'deleted';
DROP INDEX sites_free;
CREATE INDEX sites_free ON sites (uri, platform_id, id, found_by) WHERE state = 'enabled' AND NOT held;

-- +goose Down
DROP INDEX sites_free;
CREATE INDEX sites_free ON sites (uri, platform_id, id) WHERE state = 'enabled' AND NOT held;
DROP INDEX sites_platform_text;
