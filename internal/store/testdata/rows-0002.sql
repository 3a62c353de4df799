-- What schema 2 adds: upstreams, hosts, held versions, findings.
INSERT INTO upstreams VALUES
  (1, 'git', 'https://git.example.org/team/thunder.git', 'git.example.org', '2026-04-02 09:45:00+00:00', '2026-04-02 09:30:00+00:00', '2026-03-02 09:30:00+00:00', NULL, 0, 0, '', '', '2026-04-01 00:00:00+00:00'),
  (2, 'git', 'https://git.example.org/team/other.git', 'git.example.org', NULL, '2026-04-02 09:30:00+00:00', '2026-03-02 09:30:00+00:00', '2026-04-02 09:29:59+00:00', 7, 1, 'AuthenticationFailed', 'git.example.org refuses the credential.', '2026-04-01 00:00:00+00:00');

INSERT INTO hosts VALUES
  ('git.example.org', 2, 30, 29500, '2026-04-02 09:30:00+00:00', NULL, 3, 4711, '2026-04-02'),
  ('packages.example.org', 4, 60, 0, '2026-04-02 09:30:00+00:00', '2026-04-02 10:30:00+00:00', 0, 12, '2026-04-02');

UPDATE distributions SET upstream_id = 1, secrets = x'6167652d656e6372797074696f6e2e6f72672f7631' WHERE id = 1;
UPDATE distributions SET upstream_id = 2, reason_code = 'TagMoved', rebuild_days = 30 WHERE id = 3;

INSERT INTO source_states VALUES
  (1, '{"revision":"git:refs/heads/main@sha1:bbbb"}', ''),
  (3, '{"revision":"git:refs/tags/v1@sha1:dddd"}', '{"revision":"git:refs/tags/v1@sha1:cccc"}');

UPDATE platforms SET facts = '[{"label":"Commit","value":"aaaa"}]', security = 1, at_risk = 1,
  standing = '[{"kind":"insecure","package":"drupal","version":"10.6.1","title":"A hole","severity":"high"}]' WHERE id = 1;

INSERT INTO platform_plans VALUES (4, '{"commit":"ffff"}');

INSERT INTO tasks VALUES
  (10, 'check', 'upstream', 1, 'Check git.example.org', 'queued', NULL, 0, 'queue', NULL, '', 0, '2026-04-02 10:00:00+00:00', NULL, NULL, 0);

INSERT INTO checks VALUES
  (5, 1, NULL, 'webhook', 'throttled', '', '', 'git.example.org asks for a pause.', 1, '2026-04-02 00:00:00+00:00', '2026-04-02 00:00:01+00:00', 1, 'RateLimited', 3, 2048),
  (6, 3, NULL, 'queue', 'blocked', '', '', 'The address is in a private network.', 1, '2026-04-02 00:00:00+00:00', '2026-04-02 00:00:01+00:00', 1, 'AddressBlocked', 0, 0);
