-- +goose Up
-- Where each change comes from, and what was before and after; see docs/audit.md.
ALTER TABLE events ADD COLUMN door text NOT NULL DEFAULT "";
ALTER TABLE events ADD COLUMN address text NOT NULL DEFAULT "";
ALTER TABLE events ADD COLUMN changes text;

-- The record is read newest first, narrowed to one of these.
DROP INDEX events_subject;
CREATE INDEX events_subject ON events (subject_kind, subject_id, at, id);
CREATE INDEX events_kind ON events (subject_kind, at, id);
DROP INDEX events_at;
CREATE INDEX events_at ON events (at, id);
CREATE INDEX events_actor ON events (actor, at, id);
CREATE INDEX events_verb ON events (verb, at, id);
CREATE INDEX events_door ON events (door, at, id);
CREATE INDEX events_address ON events (address, at, id);

-- Lines are added and nothing else happens to them.
-- +goose StatementBegin
CREATE TRIGGER events_kept BEFORE UPDATE ON events BEGIN
  SELECT RAISE(ABORT, 'the record of changes is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER events_never_deleted BEFORE DELETE ON events BEGIN
  SELECT RAISE(ABORT, 'the record of changes is append-only');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER events_never_deleted;
DROP TRIGGER events_kept;
DROP INDEX events_address;
DROP INDEX events_door;
DROP INDEX events_verb;
DROP INDEX events_actor;
DROP INDEX events_at;
CREATE INDEX events_at ON events (at);
DROP INDEX events_kind;
DROP INDEX events_subject;
CREATE INDEX events_subject ON events (subject_kind, subject_id, id);
ALTER TABLE events DROP COLUMN changes;
ALTER TABLE events DROP COLUMN address;
ALTER TABLE events DROP COLUMN door;
