-- +goose Up
-- A token may allow less than its user may. What it is bound to goes with its client.
ALTER TABLE tokens ADD COLUMN role text NOT NULL DEFAULT '' CHECK (role IN ('', 'viewer', 'operator', 'manager', 'administrator'));
ALTER TABLE tokens ADD COLUMN client_id bigint REFERENCES clients (id) ON DELETE CASCADE;
CREATE INDEX tokens_client ON tokens (client_id);

-- What requests with an idempotency key were answered.
CREATE TABLE replies (
  id text PRIMARY KEY NOT NULL,
  token_id bigint NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
  request text NOT NULL,
  sealed bytea NOT NULL,
  claimed_at timestamptz NOT NULL,
  answered_at timestamptz,
  created_at timestamptz NOT NULL
);
CREATE INDEX replies_token ON replies (token_id);
CREATE INDEX replies_created ON replies (created_at);

-- +goose Down
DROP TABLE replies;
DROP INDEX tokens_client;
ALTER TABLE tokens DROP COLUMN client_id;
ALTER TABLE tokens DROP COLUMN role;
