-- What a Hefring of schema 1 may have kept: every table, every state.
INSERT INTO distributions VALUES
  (1, 'Thunder', 'thunder', 'git', '{"branch":"main","url":"https://git.example.org/team/thunder.git"}', 900000000000, NULL,
   'git:refs/heads/main@sha1:bbbb', 'git:refs/heads/main@sha1:aaaa', 'changed', '', '2026-03-02 09:30:00.123456+00:00', '2026-03-02 09:45:00+00:00', '2026-01-05 08:00:00.5+00:00', '2026-03-02 09:30:00.2+00:00'),
  (2, 'Copied “by hand” — Ægir', 'copied', 'manual', NULL, NULL, NULL, '', '', 'new', '', NULL, NULL, '2026-01-06 08:00:00+00:00', '2026-01-06 08:00:00+00:00'),
  (3, 'Moved tag', 'moved-tag', 'git', '{"tag":"v1","url":"https://git.example.org/team/other.git"}', 0, NULL,
   'git:refs/tags/v1@sha1:cccc', 'git:refs/tags/v1@sha1:dddd', 'held', 'The tag v1 was moved.', '2026-03-01 00:00:00+00:00', NULL, '2026-01-07 08:00:00+00:00', '2026-03-01 00:00:00+00:00');

INSERT INTO platforms VALUES
  (1, 1, 'local', 'thunder-10.6.1-aaaa', '/var/lib/hefring/platforms/thunder-10.6.1-aaaa', 'web', 'git:refs/heads/main@sha1:aaaa', 'sha1:aaaa', 'key a', 'aaaa', 'First commit', '{"php":"8.2"}',
   '10.6.1', '8.2', '[{"name":"drupal","type":"core","version":"10.6.1"}]', '["standard","minimal"]', 'digest a', 21000, 130000000, 1, 'ready', '', '2026-01-05 08:10:00+00:00', '2026-01-05 08:05:00+00:00', '2026-01-05 08:10:00+00:00'),
  (2, 1, 'local', 'thunder-10.6.2-bbbb', '/var/lib/hefring/platforms/thunder-10.6.2-bbbb', 'web', 'git:refs/heads/main@sha1:bbbb', 'sha1:bbbb', 'key b', 'bbbb', 'Update core
with a second line, a	tab and a backslash \', '{"php":"8.2"}',
   '10.6.2', '8.2', '[{"name":"drupal","type":"core","version":"10.6.2"}]', '["standard"]', 'digest b', 21001, 130000001, 0, 'ready', '', '2026-03-02 09:40:00+00:00', '2026-03-02 09:31:00+00:00', '2026-03-02 09:40:00+00:00'),
  (3, 1, 'local', 'thunder-bad', '', '', 'git:refs/heads/main@sha1:eeee', 'sha1:eeee', 'key e', 'eeee', '', NULL, '', '', NULL, NULL, '', 0, 0, 0, 'failed', 'Composer found no set of packages.', NULL, '2026-02-02 09:31:00+00:00', '2026-02-02 09:40:00+00:00'),
  (4, 1, 'local', 'thunder-queued', '', '', 'git:refs/heads/main@sha1:ffff', 'sha1:ffff', 'key f', 'ffff', '', NULL, '', '', NULL, NULL, '', 0, 0, 0, 'queued', '', NULL, '2026-03-02 09:31:00+00:00', '2026-03-02 09:40:00+00:00'),
  (5, 1, 'local', 'thunder-gone', '', '', 'git:refs/heads/main@sha1:9999', 'sha1:9999', 'key 9', '9999', '', NULL, '10.5.0', '8.1', NULL, NULL, 'digest 9', 1, 1, 1, 'deleted', '', '2025-12-01 00:00:00+00:00', '2025-12-01 00:00:00+00:00', '2026-01-01 00:00:00+00:00');
UPDATE distributions SET target_id = 2 WHERE id = 1;

INSERT INTO sites VALUES
  (1, 'museum.example.org', 1, 'local', '{"engine":"sqlite","name":"/var/lib/hefring/sites/1/db/one.sqlite"}', 'standard', 'The museum''s "own" site', 'enabled', 0, '', '', '2026-01-08 08:00:00+00:00', '2026-01-08 08:01:00+00:00'),
  (2, 'fair.example.org', 1, 'local', '{"engine":"sqlite","name":"/var/lib/hefring/sites/2/db/one.sqlite"}', 'minimal', 'Fair', 'enabled', 1, 'until the fair is over', '', '2026-01-09 08:00:00+00:00', '2026-01-09 08:01:00+00:00'),
  (3, 'moving.example.org', 1, 'local', '{"engine":"sqlite","name":"/var/lib/hefring/sites/3/db/one.sqlite"}', 'standard', 'Moving', 'upgrading', 0, '', '', '2026-01-10 08:00:00+00:00', '2026-03-02 10:00:00+00:00'),
  (4, 'broken.example.org', 1, 'local', '{"engine":"sqlite","name":"/var/lib/hefring/sites/4/db/one.sqlite"}', 'standard', 'Broken', 'broken', 0, '', 'The probe after the switch back failed.', '2026-01-11 08:00:00+00:00', '2026-02-11 08:00:00+00:00'),
  (5, 'gone.example.org', 1, 'local', '{"engine":"sqlite","name":""}', 'standard', 'Gone', 'deleted', 0, '', '', '2026-01-12 08:00:00+00:00', '2026-02-12 08:00:00+00:00');

INSERT INTO comparisons VALUES
  (1, 1, 1, 2, '[{"name":"node_update_10201","module":"node","kind":"hook_update_n","description":"Adds an index."}]', NULL, 1500000000, '2026-03-02 09:42:00+00:00'),
  (2, 4, 1, 2, NULL, '["The module redirect is missing on the target."]', 900000000, '2026-03-02 09:42:01+00:00');

INSERT INTO tasks VALUES
  (1, 'build', 'platform', 1, 'Build thunder-10.6.1-aaaa', 'succeeded', NULL, 1, 'queue', NULL, 'Built.', 0, '2026-01-05 08:05:00+00:00', '2026-01-05 08:05:01+00:00', '2026-01-05 08:10:00+00:00', 3),
  (2, 'upgrade-platform', 'platform', 1, 'Upgrade the sites of thunder-10.6.1-aaaa', 'running', NULL, 1, 'ada', '{"target":"2"}', '', 0, '2026-03-02 10:00:00+00:00', '2026-03-02 10:00:01+00:00', NULL, 1),
  (3, 'upgrade', 'site', 3, 'Upgrade moving.example.org to 10.6.2', 'running', 2, 2, 'ada', NULL, '', 0, '2026-03-02 10:00:02+00:00', '2026-03-02 10:00:03+00:00', NULL, 2),
  (4, 'upgrade', 'site', 1, 'Upgrade museum.example.org to 10.6.2', 'queued', 2, 0, 'ada', NULL, '', 0, '2026-03-02 10:00:02+00:00', NULL, NULL, 0),
  (5, 'upgrade', 'site', 4, 'Upgrade broken.example.org to 10.6.2', 'failed', NULL, 1, 'ada', NULL, 'The probe after the switch back failed.', 0, '2026-02-11 07:00:00+00:00', '2026-02-11 07:00:01+00:00', '2026-02-11 08:00:00+00:00', 0),
  (6, 'upgrade', 'site', 2, 'Upgrade fair.example.org to 10.6.2', 'recovered', NULL, 1, 'ada', NULL, 'An update threw.', 0, '2026-02-10 07:00:00+00:00', '2026-02-10 07:00:01+00:00', '2026-02-10 08:00:00+00:00', 0),
  (7, 'check', 'distribution', 1, 'Check Thunder', 'queued', NULL, 0, 'queue', NULL, '', 0, '2026-03-02 10:00:00+00:00', NULL, NULL, 0),
  (8, 'verify', 'platform', 2, 'Verify thunder-10.6.2-bbbb', 'cancelled', NULL, 1, 'ada', NULL, 'Cancelled by ada before it began.', 1, '2026-03-01 10:00:00+00:00', NULL, '2026-03-01 10:00:01+00:00', 0),
  (9, 'build', 'platform', 4, 'Build thunder-queued', 'queued', NULL, 0, 'queue', NULL, '', 0, '2026-03-02 09:31:00+00:00', NULL, NULL, 0);

INSERT INTO task_lines VALUES
  (1, 1, '2026-01-05 08:05:01.000001+00:00', '', 'info', 'Checking out aaaa'),
  (2, 1, '2026-01-05 08:06:00+00:00', '', 'out', 'Installing drupal/core (10.6.1): Extracting archive <100%> & done'),
  (3, 1, '2026-01-05 08:07:00+00:00', '', 'warn', '⚠ abandoned: naïve/packäge'),
  (4, 2, '2026-03-02 10:00:01+00:00', '', 'info', ''),
  (5, 3, '2026-03-02 10:00:03+00:00', 'updatedb', 'err', 'PHP Warning: something'),
  (6, 3, '2026-03-02 10:00:04+00:00', 'updatedb', 'error', 'it threw'),
  (7, 3, '2026-03-02 10:00:04+00:00', '', 'out', '2026-03-02 10:00:04+00:00'),
  (8, 3, '2026-03-02 10:00:04+00:00', '', 'out', '{"end":true}');

INSERT INTO checks VALUES
  (1, 1, 1, 'button', 'changed', '', 'git:refs/heads/main@sha1:aaaa', 'First commit', 1, '2026-01-05 08:04:00+00:00', '2026-01-05 08:04:01+00:00', 1000000000),
  (2, 1, NULL, 'queue', 'unchanged', 'git:refs/heads/main@sha1:aaaa', 'git:refs/heads/main@sha1:aaaa', '', 4321, '2026-01-05 08:15:00+00:00', '2026-03-02 09:15:01+00:00', 150000000),
  (3, 3, NULL, 'save', 'held', 'git:refs/tags/v1@sha1:dddd', 'git:refs/tags/v1@sha1:cccc', 'The tag v1 was moved.', 1, '2026-03-01 00:00:00+00:00', '2026-03-01 00:00:00+00:00', 1),
  (4, 3, NULL, 'queue', 'failed', '', '', 'git.example.org does not answer.', 1, '2026-02-01 00:00:00+00:00', '2026-02-01 00:00:30+00:00', 30000000000);

INSERT INTO queues VALUES
  ('git', 300000000000, 4, 0, '2026-03-02 10:00:00+00:00'),
  ('manual', 3600000000000, 1, 1, NULL);

INSERT INTO upgrades VALUES
  (1, 5, 4, 1, 2, 'database', 'fatal', '{"engine":"sqlite","name":"/old"}', '{"engine":"sqlite","name":"/new"}', 1, 'confirm', 'The probe after the switch back failed.', 42000000000, NULL, NULL, '2026-02-11 07:00:01+00:00', '2026-02-11 08:00:00+00:00', '2026-02-11 07:00:00+00:00'),
  (2, 6, 2, 1, 2, 'database', 'recovered', '{"engine":"sqlite","name":"/old"}', '{"engine":"sqlite","name":"/new"}', 0, 'updatedb', 'An update threw.', 12000000000, '[{"name":"node_update_10201","module":"node","kind":"hook_update_n","description":"Adds an index."}]', NULL, '2026-02-10 07:00:01+00:00', '2026-02-10 08:00:00+00:00', '2026-02-10 07:00:00+00:00'),
  (3, 3, 3, 1, 2, '', 'running', '{"engine":"sqlite","name":"/old"}', '{"engine":"","name":""}', 0, '', '', 0, NULL, NULL, '2026-03-02 10:00:03+00:00', NULL, '2026-03-02 10:00:02+00:00');

INSERT INTO upgrade_steps VALUES
  (1, 3, 'preflight', 'done', 'One update is pending.', '2026-03-02 10:00:03+00:00', '2026-03-02 10:00:05+00:00', NULL),
  (2, 3, 'read-only', 'running', '', '2026-03-02 10:00:05+00:00', NULL, NULL),
  (3, 3, 'copy', 'pending', '', NULL, NULL, NULL),
  (4, 2, 'updatedb', 'failed', 'An update threw.', '2026-02-10 07:30:00+00:00', '2026-02-10 07:31:00+00:00', NULL),
  (5, 2, 'copy', 'undone', '', '2026-02-10 07:20:00+00:00', '2026-02-10 07:21:00+00:00', '2026-02-10 07:40:00+00:00'),
  (6, 2, 'deploy', 'skipped', '', NULL, NULL, NULL);

INSERT INTO events VALUES
  (1, '2026-01-05 08:00:00.5+00:00', 'ada', 'create', 'distribution', 1, 'Thunder'),
  (2, '2026-01-05 08:10:00+00:00', 'queue', 'promote', 'platform', 1, 'thunder-10.6.1-aaaa is the upgrade target'),
  (3, '2026-03-02 10:00:00+00:00', 'ada', 'upgrade-platform', 'platform', 1, 'Upgrade the sites of thunder-10.6.1-aaaa');

INSERT INTO users VALUES
  (1, 'admin', '', '2026-01-05 07:59:00+00:00'),
  (2, 'ada', '$argon2id$v=19$m=65536,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', '2026-01-05 07:59:30+00:00');

INSERT INTO login_links VALUES
  ('5f0a', 1, '2026-01-05 08:14:00+00:00', '2026-01-05 08:00:00+00:00'),
  ('5f0b', 2, '2026-03-02 10:14:00+00:00', NULL);

INSERT INTO sessions VALUES
  ('a3a3', x'00ff10', '2026-03-03 10:00:00+00:00'),
  ('b4b4', x'', '2026-03-03 11:00:00+00:00');

INSERT INTO form_tokens VALUES ('f1', 1, '2026-03-02 09:00:00+00:00');

INSERT INTO worker_beats VALUES ('local-ABCDEFGH', '2026-03-02 10:00:04.123+00:00');
