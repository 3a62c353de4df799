-- +goose Up
-- Whose a session is was not known until now: everybody signs in anew.
CREATE TABLE sign_ins (
  token text PRIMARY KEY NOT NULL REFERENCES sessions (token) ON DELETE CASCADE,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,
  address text NOT NULL,
  agent text NOT NULL
);
CREATE INDEX sign_ins_user ON sign_ins (user_id);

CREATE TABLE second_factors (
  user_id bigint PRIMARY KEY NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  sealed bytea NOT NULL,
  confirmed_at timestamptz,
  last_step bigint NOT NULL,
  created_at timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  hash text NOT NULL,
  PRIMARY KEY (user_id, hash)
);

CREATE TABLE identities (
  id bigserial PRIMARY KEY,
  user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  issuer text NOT NULL CHECK (issuer <> ''),
  subject text NOT NULL CHECK (subject <> ''),
  name text NOT NULL,
  created_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE UNIQUE INDEX identities_subject ON identities (issuer, subject);
CREATE INDEX identities_user ON identities (user_id);

CREATE TABLE throttles (
  key text PRIMARY KEY NOT NULL,
  count bigint NOT NULL,
  counted_at timestamptz NOT NULL,
  open_at timestamptz NOT NULL,
  good_at timestamptz
);
CREATE INDEX throttles_counted ON throttles (counted_at);

-- +goose Down
DROP TABLE throttles;
DROP TABLE identities;
DROP TABLE recovery_codes;
DROP TABLE second_factors;
DROP TABLE sign_ins;
