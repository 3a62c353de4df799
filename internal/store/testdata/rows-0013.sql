-- What schema 13 adds: the token of a program that changed something.
INSERT INTO events (id, at, actor, verb, subject_kind, subject_id, text, door, address, token) VALUES
  (130, '2026-11-22 10:00:00+00:00', 'ada', 'lock', 'platform', 1, 'thunder-10.6.1-aaaa', 'api', '192.0.2.7', 'Deployment (viewer)');
