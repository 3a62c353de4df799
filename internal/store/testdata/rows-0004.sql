-- What schema 4 adds: database servers, names, backups, rollbacks, tokens.
INSERT INTO database_servers VALUES
  (1, 'Main', 'mysql', 'db.example.org', 3306, 'admin', x'616765', 'verify', '%', 'hefring', 1, '11.4.2-MariaDB', '', '2026-06-01 00:00:00+00:00', '2026-06-01 00:00:00+00:00', '2026-06-01 00:00:00+00:00'),
  (2, 'Other', 'postgres', '/run/postgresql', 0, 'hefring', NULL, 'off', '', 'h', 0, '', 'It does not answer.', NULL, '2026-06-01 00:00:00+00:00', '2026-06-01 00:00:00+00:00');

INSERT INTO sites (id, uri, platform_id, server, database, profile, title, state, held, held_reason, reason, created_at, updated_at,
    aliases, redirect, https, certificate, certificate_key, database_server_id, language, probes, probe_text, cron_every, cron_next_at, backup_every, backup_keep, backup_next_at, held_until) VALUES
  (6, 'shop.example.org', 2, 'local', '{"engine":"mysql","name":"hefring_6_1","server":1,"user":"hefring_6"}', 'standard', 'Shop', 'enabled', 1, 'the sale', '', '2026-06-02 08:00:00+00:00', '2026-06-02 08:01:00+00:00',
   '["www.shop.example.org"]', 1, 'required', '/etc/ssl/shop.pem', '/etc/ssl/shop.key', 1, 'de', '["/","/cart"]', 'Warenkorb', 3600000000000, '2026-06-02 09:01:00+00:00', 86400000000000, 7, '2026-06-03 02:00:00+00:00', '2026-07-01 00:00:00+00:00');

INSERT INTO site_names VALUES ('shop.example.org', 6), ('www.shop.example.org', 6);

INSERT INTO tasks VALUES
  (11, 'backup', 'site', 6, 'Back shop.example.org up', 'succeeded', NULL, 1, 'queue', NULL, 'Kept.', 0, '2026-06-02 02:00:00+00:00', '2026-06-02 02:00:01+00:00', '2026-06-02 02:01:00+00:00', 0, ''),
  (12, 'import', 'import', 1, 'Look for sites in /srv/old', 'succeeded', NULL, 1, 'ada', '{"root":"/srv/old"}', 'One site.', 0, '2026-06-02 02:00:00+00:00', '2026-06-02 02:00:01+00:00', '2026-06-02 02:01:00+00:00', 0, '[{"folder":"default"}]'),
  (13, 'rollback', 'site', 6, 'Take shop.example.org back', 'failed', NULL, 1, 'ada', NULL, 'It was read-only.', 0, '2026-06-02 03:00:00+00:00', '2026-06-02 03:00:01+00:00', '2026-06-02 03:01:00+00:00', 0, '');

INSERT INTO backups VALUES
  (1, 6, 11, 'shop.example.org', 2, 'schedule', 'ready', '', '/var/lib/hefring/backups/6/shop.example.org-20260602T020000Z-1.tar.gz', 'mysql', '10.6.2', 'standard', 123456789, 'abcd', 72, 1234, 0, '', '2026-06-02 02:00:00+00:00', '2026-06-02 02:01:00+00:00'),
  (2, 6, 13, 'shop.example.org', 2, 'rollback', 'failed', 'before the rollback', '', 'mysql', '10.6.2', 'standard', 0, '', 0, 0, 1, 'The disk is full.', '2026-06-02 03:00:00+00:00', NULL);

INSERT INTO upgrades (id, task_id, site_id, from_id, to_id, mode, state, old_database, new_database, switched, failed_step, reason, read_only, updates, dropped_old_at, started_at, ended_at, created_at, kind, undoes_id, backup_id, marks, rolled_back_at) VALUES
  (4, 13, 6, 2, 1, 'database', 'recovered', '{"engine":"mysql","name":"hefring_6_1"}', '{"engine":"mysql","name":"hefring_6_2"}', 0, 'read-only', 'It was read-only.', 0, NULL, NULL, '2026-06-02 03:00:01+00:00', '2026-06-02 03:01:00+00:00', '2026-06-02 03:00:00+00:00', 'rollback', 1, 1, '[{"t":"node","n":12}]', NULL);

UPDATE distributions SET keep_platforms = 5 WHERE id = 1;

INSERT INTO tokens VALUES
  (1, 2, 'deploy', 'cafe', '2026-09-01 00:00:00+00:00', '2026-06-02 00:00:00+00:00', '2026-06-01 00:00:00+00:00'),
  (2, 2, 'monitor', 'beef', '2026-09-01 00:00:00+00:00', NULL, '2026-06-01 00:00:00+00:00');

-- The highest ids are not there any more, and must not be given out again.
INSERT INTO events VALUES (99, '2026-06-02 03:01:00+00:00', 'ada', 'rollback', 'site', 6, 'Take shop.example.org back');
DELETE FROM events WHERE id = 99;
