-- name: earlier
-- The load of a user with an idempotency key: hash of the request, and report; no row without one.
SELECT l.request_sha256, l.report FROM ops.http_loads l WHERE l.idempotency_key = %(key)s

-- name: record
-- Record who loaded a batch, and its report.
INSERT INTO ops.http_loads (batch_id, user_name, key_prefix, request_id, idempotency_key, request_sha256, report)
VALUES (%(batch)s, %(user)s, %(key_prefix)s, %(request)s, %(key)s, %(sha256)s, %(report)s)
