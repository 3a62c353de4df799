-- +goose Up
-- A search among the sites that are behind reads these alone, in the order of the list.
CREATE INDEX sites_list_text ON sites (uri, id, platform_id, state, held, found_by) WHERE state <> 'deleted';
DROP INDEX sites_free;

-- +goose Down
CREATE INDEX sites_free ON sites (uri, platform_id, id, found_by) WHERE state = 'enabled' AND NOT held;
DROP INDEX sites_list_text;
