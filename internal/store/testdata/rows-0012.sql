-- What schema 12 adds: sites on their way to another server.
INSERT INTO relocations (id, task_id, site_id, from_id, to_id, state, reason, site, origin, target, first, second, database, backups, closed_at, opened_at, created_at, ended_at, swept_at)
  SELECT 1, (SELECT MIN(id) FROM tasks), (SELECT MIN(id) FROM sites), NULL, 1, 'failed', 'web1 did not answer.', '{"URI":"museum.example.org"}', '', 'http://192.0.2.11:8081', 'aa11', '', '{}', '', NULL, NULL,
    '2026-11-21 10:00:00+00:00', '2026-11-21 10:05:00+00:00', NULL;
