-- +goose Up
CREATE TABLE webhooks (
  id integer PRIMARY KEY AUTOINCREMENT,
  distribution_id integer NOT NULL REFERENCES distributions (id) ON DELETE CASCADE,
  address text NOT NULL,
  provider text NOT NULL CHECK (provider IN ('github', 'gitlab', 'gitlab-token', 'gitea', 'bitbucket', 'bitbucket-server', 'standard', 'signature')),
  branch text NOT NULL,
  hook_at datetime,
  created_at datetime NOT NULL,
  updated_at datetime NOT NULL
);
CREATE UNIQUE INDEX webhooks_address ON webhooks (address);
CREATE INDEX webhooks_distribution ON webhooks (distribution_id, id);

CREATE TABLE webhook_secrets (
  id integer PRIMARY KEY AUTOINCREMENT,
  webhook_id integer NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  sealed blob NOT NULL,
  created_at datetime NOT NULL,
  used_at datetime
);
CREATE INDEX webhook_secrets_webhook ON webhook_secrets (webhook_id, id);

CREATE TABLE deliveries (
  id integer PRIMARY KEY AUTOINCREMENT,
  webhook_id integer NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  key text NOT NULL,
  fresh numeric NOT NULL,
  event text NOT NULL,
  ref text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('accepted', 'ping', 'ignored', 'duplicate', 'refused')),
  reason text NOT NULL,
  sender text NOT NULL,
  times integer NOT NULL CHECK (times > 0),
  at datetime NOT NULL
);
CREATE UNIQUE INDEX deliveries_key ON deliveries (webhook_id, key) WHERE fresh;
CREATE INDEX deliveries_webhook ON deliveries (webhook_id, at, id);
CREATE INDEX deliveries_at ON deliveries (at);

-- +goose Down
DROP TABLE deliveries;
DROP TABLE webhook_secrets;
DROP TABLE webhooks;
