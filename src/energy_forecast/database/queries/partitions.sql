-- name: list_partitions
-- Every partition with rows (counted where smaller than so many bytes, else the planner's estimate) and bytes.
SELECT table_name, partition_name, range_start, range_end, city, is_shared, detach_pending, row_count, is_exact,
       byte_count
FROM ops.partition_rows(%(exact_below)s)

-- name: missing_partitions
-- The monthly partitions of this month and the months to come that are not there.
SELECT table_name, partition_name, stands_alone FROM ops.missing_partitions(%(months)s)

-- name: make_partitions
-- Makes them; how many.
SELECT ensure_partitions_ahead(%(months)s)

-- name: dedicate_partition
-- Gives a city's predictions a partition of their own: outcome, its name, rows moved.
SELECT outcome, partition_name, row_count FROM ops.dedicate_partition(%(city)s, %(name)s, %(most_bytes)s)

-- name: share_partition
-- Takes a city's predictions back into the shared partition: outcome, the name that is gone, rows moved.
SELECT outcome, partition_name, row_count FROM ops.share_partition(%(city)s, %(most_rows)s)
