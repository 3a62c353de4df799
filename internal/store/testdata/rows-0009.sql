-- What schema 9 adds: where a change comes from, and what was before and after.
INSERT INTO events (id, at, actor, verb, subject_kind, subject_id, text, door, address, changes) VALUES
  (100, '2026-11-22 10:00:00+00:00', 'ada', 'change user', 'user', 2, 'bo', 'page', '192.0.2.7', '[{"field":"role","before":"viewer","after":"operator"}]');
