-- name: try_lock
-- Take the lock of the program that sends events until the end of the transaction; false if another has it.
SELECT pg_try_advisory_xact_lock(hashtextextended('energy_forecast webhooks', 0))

-- name: add
-- Add a webhook: its id.
INSERT INTO ops.webhooks (user_name, url, secret, allow_private)
VALUES (%(user)s, %(url)s, %(secret)s, %(allow_private)s) RETURNING id

-- name: begin
-- Let the deliveries of a webhook begin after the newest run.
INSERT INTO ops.webhook_states (webhook_id, position)
SELECT %(id)s::uuid, r.sequence FROM ops.live_runs_after(9223372036854775807) r

-- name: webhooks
-- All webhooks with their deliveries (UTC), by user and time; with an id that one.
SELECT w.id, w.user_name AS "user", w.url, w.secret, w.allow_private, w.created_at, w.created_by,
       s.delivered_at, s.failures, s.failing_since, s.next_attempt_at, s.disabled_at, s.reason
FROM ops.webhooks w JOIN ops.webhook_states s ON s.webhook_id = w.id
WHERE %(id)s::uuid IS NULL OR w.id = %(id)s
ORDER BY w.user_name, w.created_at, w.id

-- name: remove
-- Remove a webhook.
DELETE FROM ops.webhooks WHERE id = %(id)s

-- name: due
-- Webhooks that are not disabled and due, the last delivered position and city, and whether the user has rights in this database.
SELECT w.id, w.user_name AS "user", w.url, w.secret, w.allow_private, s.position, s.delivered_city, EXISTS (
    SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
    WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname = w.user_name) AS is_user
FROM ops.webhooks w JOIN ops.webhook_states s ON s.webhook_id = w.id
WHERE s.disabled_at IS NULL AND (s.next_attempt_at IS NULL OR s.next_attempt_at <= now())
ORDER BY s.delivered_at NULLS FIRST, w.id

-- name: runs_after
-- Live runs after a position; the last row may have only the newest position.
SELECT r.sequence, r.run_id FROM ops.live_runs_after(%(position)s) r

-- name: forecasts_of_run
-- The forecasts of a run that the reader may see, after a city, without their values.
SELECT v.city_id, c.name AS city, r.id AS run_id, r.issued_at, r.created_at AS recorded_at, m.name AS model, m.version
FROM forecast_runs r
JOIN prediction_vintages v ON v.run_id = r.id AND v.issued_at = r.issued_at
JOIN cities c ON c.id = v.city_id
JOIN models m ON m.id = r.model_id
WHERE r.id = %(run)s AND r.purpose = 'live' AND (%(after)s::uuid IS NULL OR v.city_id > %(after)s)
ORDER BY v.city_id

-- name: delivered
-- Record that an event was accepted.
UPDATE ops.webhook_states
SET delivered_city = %(city)s, delivered_at = now(), failures = 0, failing_since = NULL, next_attempt_at = NULL, reason = NULL
WHERE webhook_id = %(id)s

-- name: passed
-- Record that all runs up to a position are delivered.
UPDATE ops.webhook_states SET position = %(position)s, delivered_city = NULL WHERE webhook_id = %(id)s AND position < %(position)s

-- name: failed
-- Record a failed attempt. The next one is after 10 s, doubled with each failure up to an hour; after three days it is disabled.
UPDATE ops.webhook_states
SET failures = failures + 1, failing_since = coalesce(failing_since, now()), reason = %(reason)s,
    next_attempt_at = now() + least(interval '10 seconds' * 2 ^ least(failures, 9), interval '1 hour'),
    disabled_at = CASE WHEN failing_since < now() - interval '3 days' THEN now() END
WHERE webhook_id = %(id)s
RETURNING disabled_at IS NOT NULL

-- name: disable
-- Disable a webhook for a reason that no later attempt can remove.
UPDATE ops.webhook_states SET disabled_at = now(), reason = %(reason)s WHERE webhook_id = %(id)s
