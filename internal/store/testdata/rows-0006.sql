-- What schema 6 adds: channels and notices.
INSERT INTO channels (id, name, kind, target, secret, distribution_id, client_id, causes, every, hour, paused, reason, sent_at, look_at, digest_at, created_at, updated_at) VALUES
  (1, 'Team', 'email', 'ops@example.org', NULL, NULL, NULL, NULL, 0, 7, 0, '', '2026-11-20 07:00:00+00:00', '2026-11-21 07:00:00+00:00', NULL, '2026-11-01 00:00:00+00:00', '2026-11-20 07:00:00+00:00'),
  (2, 'Museum', 'webhook', 'https://hooks.example.org/hefring', x'0a0b', NULL, 1, '["broken"]', 86400000000000, 7, 1, 'It answers 410.', NULL, '2026-11-21 07:00:00+00:00', '2026-11-22 07:00:00+00:00', '2026-11-01 00:00:00+00:00', '2026-11-01 00:00:00+00:00');
INSERT INTO notice_messages (id, channel_id, key, letter, state, attempts, next_at, created_at, ended_at) VALUES
  (1, 1, 'k-1', '{"subject":"broken.example.org is broken"}', 'sent', 1, '2026-11-20 07:00:00+00:00', '2026-11-20 06:59:00+00:00', '2026-11-20 07:00:00+00:00'),
  (2, 2, 'k-2', '{}', 'queued', 3, '2026-11-21 07:00:00+00:00', '2026-11-20 06:59:00+00:00', NULL);
INSERT INTO notice_attempts (id, message_id, at, recipient, delivered, status, answer, problem, took) VALUES
  (1, 1, '2026-11-20 07:00:00+00:00', 'ops@example.org', 1, 250, 'OK', '', 120000000),
  (2, 2, '2026-11-20 07:00:00+00:00', 'https://hooks.example.org/hefring', 0, 410, 'Gone', 'It answers 410.', 80000000);
INSERT INTO notices (id, channel_id, cause, key, subject_kind, subject_id, title, why, sites, began_at, gone_at, over_at, told_at, owed, message_id) VALUES
  (1, 1, 'broken', 'site:4', 'site', 4, 'broken.example.org', 'The probe failed.', 1, '2026-11-20 06:58:00+00:00', NULL, NULL, '2026-11-20 07:00:00+00:00', 0, 1),
  (2, 2, 'broken', 'site:1', 'site', 1, 'museum.example.org', 'The probe failed.', 1, '2026-11-20 06:58:00+00:00', '2026-11-20 07:30:00+00:00', NULL, NULL, 1, NULL);
