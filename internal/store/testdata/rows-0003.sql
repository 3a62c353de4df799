-- What schema 3 adds: webhooks.
INSERT INTO webhooks VALUES
  (1, 1, '0123456789abcdef0123456789abcdef', 'github', 'main', '2026-05-02 09:29:59+00:00', '2026-05-01 00:00:00+00:00', '2026-05-02 09:29:59+00:00'),
  (2, 3, 'fedcba9876543210fedcba9876543210', 'gitlab-token', '', NULL, '2026-05-01 00:00:00+00:00', '2026-05-01 00:00:00+00:00');

INSERT INTO webhook_secrets VALUES
  (1, 1, x'0102030405', '2026-05-01 00:00:00+00:00', '2026-05-02 09:29:59+00:00'),
  (2, 1, x'0607', '2026-05-02 00:00:00+00:00', NULL),
  (3, 2, x'08', '2026-05-01 00:00:00+00:00', NULL);

INSERT INTO deliveries VALUES
  (1, 1, 'd-1', 1, 'push', 'refs/heads/main', 'accepted', '', '192.0.2.7', 1, '2026-05-02 09:29:59+00:00'),
  (2, 1, 'd-1', 0, 'push', 'refs/heads/main', 'duplicate', 'It came before.', '192.0.2.7', 3, '2026-05-02 09:30:59+00:00'),
  (3, 2, '', 0, '', '', 'refused', 'The token does not match.', '198.51.100.3', 12, '2026-05-02 09:31:59+00:00');
