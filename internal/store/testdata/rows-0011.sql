-- What schema 11 adds: servers, what their workers prove themselves with, and what is on them.
INSERT INTO servers (id, name, address, state, role, recipient, version, created_at, joined_at, seen_at) VALUES
  (1, 'web1', '192.0.2.11', 'joined', 'hefring_worker_1_abcdefgh', 'age1key', '1.0.0', '2026-11-20 10:00:00+00:00', '2026-11-20 10:05:00+00:00', '2026-11-21 10:00:00+00:00'),
  (2, 'web2', '', 'invited', '', '', '', '2026-11-21 10:00:00+00:00', NULL, NULL);
INSERT INTO server_joins (server_id, token_hash, expires_at, key_hash) VALUES
  (1, '', '2026-11-20 11:00:00+00:00', 'cc33'), (2, 'dd44', '2026-11-21 11:00:00+00:00', '');
INSERT INTO server_keys (server_id, database_server_id, sealed, source) SELECT 1, id, x'616765', 'ee55' FROM database_servers LIMIT 1;
INSERT INTO server_platforms (id, server_id, platform_id, digest, state, reason, created_at, updated_at)
  SELECT 1, 1, MIN(id), 'ff66', 'ready', '', '2026-11-20 10:00:00+00:00', '2026-11-20 10:01:00+00:00' FROM platforms;
