-- +goose Up
-- More indexes for pages of fleets with 100,000 sites; see docs/sizing.md.

-- How many sites clients have is read from the index alone.
CREATE INDEX sites_clients ON sites (client_id) WHERE client_id IS NOT NULL AND state <> 'deleted';
-- Sites that are behind, in the order of their list: what is skipped, and what is on
-- its target, is read from the index alone.
CREATE INDEX sites_free ON sites (uri, platform_id, id) WHERE state = 'enabled' AND NOT held;

-- +goose Down
DROP INDEX sites_free;
DROP INDEX sites_clients;
