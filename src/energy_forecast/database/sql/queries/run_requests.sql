-- name: request
-- Add a request for a run, as a user: its id.
SELECT ops.request_run(%(kind)s, %(cities)s, %(parameters)s, %(key)s)

-- name: try_lock
-- Take the lock of the program that runs requests until the end of the transaction; false if another has it.
SELECT pg_try_advisory_xact_lock(hashtextextended('energy_forecast run requests', 0))

-- name: close_interrupted
-- Fail the requests whose run ended without a result. Only with the lock.
UPDATE ops.run_requests
SET status = 'failed', finished_at = clock_timestamp(), result = jsonb_build_object('error', %(why)s::text)
WHERE status = 'running'

-- name: start_next
-- Start the oldest waiting request: id, kind, parameters, user, and names of the cities that the user may still see.
UPDATE ops.run_requests r SET status = 'running', started_at = clock_timestamp()
WHERE r.id = (SELECT w.id FROM ops.run_requests w WHERE w.status = 'waiting' ORDER BY w.created_at, w.id LIMIT 1)
RETURNING r.id, r.kind, r.parameters, r.requested_by, ARRAY(
    SELECT c.name FROM cities c JOIN user_city_access a ON a.city_id = c.id
    WHERE a.user_id = r.requested_by AND c.id = ANY (r.city_ids) ORDER BY c.name) AS cities

-- name: finish
-- Record the result of a request.
UPDATE ops.run_requests SET status = %(status)s, finished_at = clock_timestamp(), result = %(result)s WHERE id = %(id)s

-- name: run_request
-- A request by id: kind, cities, parameters, status, result and times; no row if the reader may not see it.
SELECT r.id, r.kind, ARRAY(SELECT c.name FROM cities c WHERE c.id = ANY (r.city_ids) ORDER BY c.name) AS cities,
       r.parameters, r.status, r.result, r.created_at, r.started_at, r.finished_at
FROM ops.run_requests r WHERE r.id = %(id)s

-- name: own_requests
-- The last requests that the reader may see, the newest first.
SELECT r.id, r.kind, r.status, r.created_at, r.started_at, r.finished_at
FROM ops.run_requests r ORDER BY r.created_at DESC, r.id LIMIT %(limit)s
