-- +goose Up
-- More indexes for pages of fleets with 100,000 sites; see docs/sizing.md.

-- How many sites clients have is read from the index alone.
CREATE INDEX sites_clients ON sites (client_id) WHERE client_id IS NOT NULL AND state <> 'deleted';
-- Sites that are behind, in the order of their list: what is skipped, and what is on
-- its target, is read from the index alone.
CREATE INDEX sites_free ON sites (uri, platform_id, id) WHERE state = 'enabled' AND NOT held;
-- Platforms that may take new sites, as forms list them.
CREATE INDEX platforms_open ON platforms (name) WHERE state = 'ready' AND NOT locked;

-- +goose Down
DROP INDEX platforms_open;
DROP INDEX sites_free;
DROP INDEX sites_clients;
