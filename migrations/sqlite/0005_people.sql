-- +goose Up
CREATE TABLE clients (
  id integer PRIMARY KEY AUTOINCREMENT,
  name text NOT NULL CHECK (name <> ''),
  note text NOT NULL,
  created_at datetime NOT NULL
);
CREATE UNIQUE INDEX clients_name ON clients (lower(name));

ALTER TABLE sites ADD COLUMN client_id integer REFERENCES clients (id);
CREATE INDEX sites_client ON sites (client_id) WHERE client_id IS NOT NULL;

-- Until there were roles, everybody could do everything; so they may still.
ALTER TABLE users ADD COLUMN role text NOT NULL CHECK (role IN ('', 'viewer', 'operator', 'manager', 'administrator')) DEFAULT "";
ALTER TABLE users ADD COLUMN client_id integer REFERENCES clients (id);
ALTER TABLE users ADD COLUMN disabled_at datetime;
UPDATE users SET role = 'administrator';
CREATE INDEX users_client ON users (client_id) WHERE client_id IS NOT NULL;

-- +goose Down
DROP INDEX users_client;
ALTER TABLE users DROP COLUMN disabled_at;
ALTER TABLE users DROP COLUMN client_id;
ALTER TABLE users DROP COLUMN role;
DROP INDEX sites_client;
ALTER TABLE sites DROP COLUMN client_id;
DROP TABLE clients;
