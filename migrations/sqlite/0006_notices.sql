-- +goose Up
CREATE TABLE channels (
  id integer PRIMARY KEY AUTOINCREMENT,
  name text NOT NULL CHECK (name <> ''),
  kind text NOT NULL CHECK (kind IN ('email', 'slack', 'webhook')),
  target text NOT NULL,
  secret blob,
  distribution_id integer REFERENCES distributions (id) ON DELETE CASCADE,
  client_id integer REFERENCES clients (id) ON DELETE CASCADE,
  causes text,
  every integer NOT NULL CHECK (every >= 0),
  hour integer NOT NULL CHECK (hour >= 0 AND hour < 24),
  paused numeric NOT NULL,
  reason text NOT NULL,
  sent_at datetime,
  look_at datetime NOT NULL,
  digest_at datetime,
  created_at datetime NOT NULL,
  updated_at datetime NOT NULL,
  CHECK (distribution_id IS NULL OR client_id IS NULL)
);
CREATE UNIQUE INDEX channels_name ON channels (lower(name));
CREATE INDEX channels_look ON channels (look_at) WHERE NOT paused;
CREATE INDEX channels_distribution ON channels (distribution_id) WHERE distribution_id IS NOT NULL;
CREATE INDEX channels_client ON channels (client_id) WHERE client_id IS NOT NULL;

CREATE TABLE notice_messages (
  id integer PRIMARY KEY AUTOINCREMENT,
  channel_id integer NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  key text NOT NULL,
  letter text NOT NULL,
  state text NOT NULL CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'replaced')),
  attempts integer NOT NULL CHECK (attempts >= 0),
  next_at datetime NOT NULL,
  created_at datetime NOT NULL,
  ended_at datetime
);
CREATE UNIQUE INDEX notice_messages_key ON notice_messages (key);
CREATE INDEX notice_messages_channel ON notice_messages (channel_id, id);
CREATE INDEX notice_messages_due ON notice_messages (next_at) WHERE state IN ('queued', 'sending');
CREATE INDEX notice_messages_created ON notice_messages (created_at);

CREATE TABLE notice_attempts (
  id integer PRIMARY KEY AUTOINCREMENT,
  message_id integer NOT NULL REFERENCES notice_messages (id) ON DELETE CASCADE,
  at datetime NOT NULL,
  recipient text NOT NULL,
  delivered numeric NOT NULL,
  status integer NOT NULL,
  answer text NOT NULL,
  problem text NOT NULL,
  took integer NOT NULL
);
CREATE INDEX notice_attempts_message ON notice_attempts (message_id, id);

CREATE TABLE notices (
  id integer PRIMARY KEY AUTOINCREMENT,
  channel_id integer NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
  cause text NOT NULL CHECK (cause <> ''),
  key text NOT NULL CHECK (key <> ''),
  subject_kind text NOT NULL,
  subject_id integer NOT NULL,
  title text NOT NULL,
  why text NOT NULL,
  sites integer NOT NULL,
  began_at datetime NOT NULL,
  gone_at datetime,
  over_at datetime,
  told_at datetime,
  owed numeric NOT NULL,
  message_id integer REFERENCES notice_messages (id) ON DELETE SET NULL
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
