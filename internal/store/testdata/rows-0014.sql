-- What schema 14 adds: a distribution that was deleted, whose short name another has again.
INSERT INTO distributions (id, name, slug, update_type, settings, observed, signature, condition, reason, created_at, updated_at, deleted_at) VALUES
  (140, 'Thunder', 'thunder', 'manual', '{}', '', '', 'new', '', '2026-11-22 11:00:00+00:00', '2026-11-22 12:00:00+00:00', '2026-11-22 12:00:00+00:00');
