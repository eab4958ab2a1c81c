-- name: list_partitions
-- Every partition with rows (counted below a number of bytes, otherwise the planner's estimate) and bytes.
SELECT table_name, partition_name, range_start, range_end, city, is_shared, detach_pending, row_count, is_exact,
       byte_count
FROM ops.partition_rows(%(exact_below)s)

-- name: missing_partitions
-- The missing monthly partitions of last month, this month and the coming months.
SELECT table_name, partition_name, stands_alone FROM ops.missing_partitions(%(months)s)

-- name: make_partitions
-- Create the missing monthly partitions: their number.
SELECT ensure_partitions_ahead(%(months)s)

-- name: dedicate_partition
-- Move a city's predictions into a partition of their own: outcome, its name, rows moved.
SELECT outcome, partition_name, row_count FROM ops.dedicate_partition(%(city)s, %(name)s, %(most_bytes)s)

-- name: share_partition
-- Move a city's predictions back into the shared partition: outcome, name of the removed partition, rows moved.
SELECT outcome, partition_name, row_count FROM ops.share_partition(%(city)s, %(most_rows)s)
