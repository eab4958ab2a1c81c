-- name: replayed
-- The state of a standby: (in recovery, end of the replayed WAL, time of the last replayed commit, seconds since then).
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp(),
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8

-- name: bytes_behind
-- Bytes of the WAL of this primary after a position.
SELECT greatest(pg_current_wal_lsn() - %(lsn)s::text::pg_lsn, 0)::bigint
