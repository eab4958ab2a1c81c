-- name: existing_months
-- The existing UTC months of a table, and the time by which a month must end to be filled before it is attached.
SELECT coalesce((
           SELECT array_agg(to_timestamp(right(relname, 7), 'YYYY"m"MM')) FROM pg_class
           WHERE relnamespace = 'public'::regnamespace AND relname ~ ('^' || %(table)s::text || '_y[0-9]{4}m[0-9]{2}$')), '{}'),
       ops.months_loaded_before(%(table)s)

-- name: begin_month
-- Create the table for the rows of a month: its name in ops.
SELECT ops.begin_month(%(table)s, %(month)s)

-- name: attach_months
-- Attach the filled months as partitions of their table.
SELECT ops.attach_months(%(table)s, %(months)s)

-- name: wait_for_locks
-- Limit the time for which this transaction waits for a lock.
SELECT set_config('lock_timeout', %(time)s::text, true)

-- name: ensure_months
-- Create the missing partitions of these months.
SELECT ensure_month_partitions(%(table)s, month, month) FROM unnest(%(months)s::timestamptz[]) AS month
