-- +goose Up
CREATE TABLE channels (
  id bigserial PRIMARY KEY,
  name text NOT NULL CHECK (name <> ''),
  kind text NOT NULL CHECK (kind IN ('email', 'slack', 'webhook')),
  target text NOT NULL,
  secret bytea,
  distribution_id bigint REFERENCES distributions (id) ON DELETE CASCADE,
  client_id bigint REFERENCES clients (id) ON DELETE CASCADE,
  causes text,
  every bigint NOT NULL CHECK (every >= 0),
  hour bigint NOT NULL CHECK (hour >= 0 AND hour < 24),
  paused boolean NOT NULL,
  reason text NOT NULL,
  sent_at timestamptz,
  look_at timestamptz NOT NULL,
  digest_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  CHECK (distribution_id IS NULL OR client_id IS NULL)
);
CREATE UNIQUE INDEX channels_name ON channels (lower(name));
CREATE INDEX channels_look ON channels (look_at) WHERE NOT paused;
CREATE INDEX channels_distribution ON channels (distribution_id) WHERE distribution_id IS NOT NULL;
CREATE INDEX channels_client ON channels (client_id) WHERE client_id IS NOT NULL;

CREATE TABLE notice_messages (
  id bigserial PRIMARY KEY,
  channel_id bigint NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  key text NOT NULL,
  letter text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'replaced')),
  attempts bigint NOT NULL CHECK (attempts >= 0),
  next_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  ended_at timestamptz
);
CREATE UNIQUE INDEX notice_messages_key ON notice_messages (key);
CREATE INDEX notice_messages_channel ON notice_messages (channel_id, id);
CREATE INDEX notice_messages_due ON notice_messages (next_at) WHERE state IN ('queued', 'sending');
CREATE INDEX notice_messages_created ON notice_messages (created_at);

CREATE TABLE notice_attempts (
  id bigserial PRIMARY KEY,
  message_id bigint NOT NULL REFERENCES notice_messages (id) ON DELETE CASCADE,
  at timestamptz NOT NULL,
  recipient text NOT NULL,
  delivered boolean NOT NULL,
  status bigint NOT NULL,
  answer text NOT NULL,
  problem text NOT NULL,
  took bigint NOT NULL
);
CREATE INDEX notice_attempts_message ON notice_attempts (message_id, id);

CREATE TABLE notices (
  id bigserial PRIMARY KEY,
  channel_id bigint NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  cause text NOT NULL CHECK (cause <> ''),
  key text NOT NULL CHECK (key <> ''),
  subject_kind text NOT NULL,
  subject_id bigint NOT NULL,
  title text NOT NULL,
  why text NOT NULL,
  sites bigint NOT NULL,
  began_at timestamptz NOT NULL,
  gone_at timestamptz,
  over_at timestamptz,
  told_at timestamptz,
  owed boolean NOT NULL,
  message_id bigint REFERENCES notice_messages (id) ON DELETE SET NULL
);
CREATE UNIQUE INDEX notices_open ON notices (channel_id, key) WHERE over_at IS NULL;
CREATE INDEX notices_owed ON notices (channel_id) WHERE owed;
CREATE INDEX notices_over ON notices (over_at);
CREATE INDEX notices_message ON notices (message_id) WHERE message_id IS NOT NULL;

-- +goose Down
DROP TABLE notices;
DROP TABLE notice_attempts;
DROP TABLE notice_messages;
DROP TABLE channels;
