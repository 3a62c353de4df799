-- What schema 10 adds: tokens that allow less.
INSERT INTO tokens (id, user_id, name, hash, expires_at, used_at, created_at, role, client_id) VALUES
  (1010, 2, 'Reader', 'r1010', '2027-11-21 10:00:00+00:00', NULL, '2026-11-21 10:00:00+00:00', 'viewer', 1);
INSERT INTO replies (id, token_id, request, sealed, claimed_at, answered_at, created_at) VALUES
  ('abab', 1010, 'cdcd', x'616765', '2026-11-21 10:00:00+00:00', '2026-11-21 10:00:01+00:00', '2026-11-21 10:00:00+00:00');
