-- +goose Up
-- With which token a program came that changed something, and what the token allowed.
ALTER TABLE events ADD COLUMN token text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE events DROP COLUMN token;
