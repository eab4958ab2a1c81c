CREATE OR REPLACE FUNCTION ops.thinned_to(partition_name text) RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT (extract(epoch FROM substring(pg_get_constraintdef(k.oid) FROM $re$'([^']+)'::interval$re$)::interval) / 3600)::integer
    FROM pg_constraint k
    WHERE k.conrelid = to_regclass(format('public.%I', partition_name)) AND k.conname = 'thinned'
$$;
COMMENT ON FUNCTION ops.thinned_to(text) IS
    'The lead time in hours from which a partition has lost its rows, by its constraint "thinned"; null if it was never thinned';
