-- name: use
-- The user and the scopes of a key by its hash; no row for an unknown key.
SELECT prefix, user_name, scopes, problem FROM ops.use_api_key(%(sha256)s)

-- name: add
-- Add a key.
INSERT INTO ops.api_keys (prefix, sha256, user_name, scopes, label, expires_at)
VALUES (%(prefix)s, %(sha256)s, %(user)s, %(scopes)s, %(label)s, %(expires_at)s)

-- name: keys
-- All keys with their last use (UTC), by user and time.
SELECT k.prefix, k.user_name AS "user", k.scopes, k.label, k.created_at, k.created_by, k.expires_at, k.revoked_at, u.last_used_at
FROM ops.api_keys k LEFT JOIN ops.api_key_uses u ON u.key_id = k.id
WHERE %(prefix)s::text IS NULL OR k.prefix = %(prefix)s
ORDER BY k.user_name, k.created_at, k.prefix

-- name: revoke
-- Revoke a key that is not revoked yet.
UPDATE ops.api_keys SET revoked_at = now() WHERE prefix = %(prefix)s AND revoked_at IS NULL

-- name: expire
-- Let a key expire at a time, unless it expires earlier.
UPDATE ops.api_keys SET expires_at = least(expires_at, %(expires_at)s) WHERE prefix = %(prefix)s

-- name: login_problem
-- The roles of the platform that the login could take: with one, a request could have more rights than a user.
SELECT string_agg(r.rolname, ', ' ORDER BY r.rolname)
FROM pg_roles r
WHERE r.rolname IN ('energy_forecast_owner', 'energy_forecast_ingest', 'energy_forecast_forecaster',
                    'energy_forecast_operator', 'energy_forecast_auditor')
  AND pg_has_role(session_user, r.oid, 'MEMBER')
