-- What schema 7 adds: second factors, identities, attempts to sign in.
INSERT INTO sign_ins (token, user_id, created_at, seen_at, address, agent) VALUES
  ('a3a3', 2, '2026-11-21 10:00:00+00:00', '2026-11-21 11:00:00+00:00', '192.0.2.7', 'Mozilla/5.0');
INSERT INTO second_factors (user_id, sealed, confirmed_at, last_step, created_at) VALUES
  (2, x'616765', '2026-11-01 00:00:00+00:00', 58823529, '2026-11-01 00:00:00+00:00'),
  (3, x'616765', NULL, 0, '2026-11-02 00:00:00+00:00');
INSERT INTO recovery_codes (user_id, hash) VALUES (2, 'aa11'), (2, 'bb22');
INSERT INTO identities (id, user_id, issuer, subject, name, created_at, used_at) VALUES
  (1, 2, 'https://id.example.org', '248289761001', 'ada@example.org', '2026-11-01 00:00:00+00:00', NULL);
INSERT INTO throttles (key, count, counted_at, open_at, good_at) VALUES
  ('account:ada', 2, '2026-11-21 10:00:00+00:00', '2026-11-21 10:00:04+00:00', '2026-11-20 10:00:00+00:00');
