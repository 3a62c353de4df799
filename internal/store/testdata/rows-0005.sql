-- What schema 5 adds: roles and clients.
INSERT INTO clients VALUES
  (1, 'Museum', 'pays by the year', '2026-11-01 00:00:00+00:00'),
  (2, 'Fair', '', '2026-11-02 00:00:00+00:00');
UPDATE sites SET client_id = 1 WHERE id = 1;
UPDATE sites SET client_id = 2 WHERE id = 2;
INSERT INTO users (id, name, password_hash, created_at, role, client_id, disabled_at) VALUES
  (3, 'museum', '', '2026-11-01 00:00:00+00:00', 'operator', 1, NULL),
  (4, 'gone', '', '2026-11-01 00:00:00+00:00', 'viewer', NULL, '2026-11-10 00:00:00+00:00');
