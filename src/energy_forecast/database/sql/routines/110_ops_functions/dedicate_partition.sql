/* Writers of predictions wait while the rows move. Readers wait only at the end, while this transaction locks the shared
   partition exclusively: ATTACH reads it once to check that it has no row of the city (1 GB per second, measured; a partition
   above `most_bytes` is rejected). Waiting for that lock ends after 300 ms and is tried again. Indexes and foreign keys are
   created before, when no session waits for them. */
CREATE OR REPLACE FUNCTION ops.dedicate_partition(
    city uuid, requested_name text, most_bytes bigint DEFAULT 512 << 20,
    OUT outcome text, OUT partition_name text, OUT row_count bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
BEGIN
    IF requested_name !~ '^predictions_[a-z0-9_]{1,50}$' THEN
        RAISE EXCEPTION '% is not a valid name for a partition of predictions', requested_name USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM public.cities c WHERE c.id = city) THEN
        RAISE EXCEPTION 'The city does not exist' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock(hashtext('energy_forecast partitions'));
    SELECT p.partition_name INTO partition_name FROM ops.partitions() p
    WHERE p.table_name = 'predictions' AND p.city_id = city;
    IF FOUND THEN
        outcome := 'already';
        RETURN;
    END IF;
    IF pg_relation_size('public.predictions_shared') > most_bytes THEN
        outcome := 'too large';
        RETURN;
    END IF;
    partition_name := requested_name;
    -- A table, index or view may have that name
    IF EXISTS (SELECT FROM pg_class c WHERE c.relname = requested_name AND c.relnamespace = 'public'::regnamespace) THEN
        partition_name := left(requested_name, 50) || '_' || left(city::text, 8);
    END IF;
    LOCK TABLE public.predictions IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.predictions INCLUDING ALL EXCLUDING COMMENTS)'
                   ' WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 2)', partition_name);
    -- Through the parent, which has a policy for the owner
    EXECUTE format('WITH moved AS (DELETE FROM public.predictions WHERE city_id = %L RETURNING *)'
                   ' INSERT INTO public.%I SELECT * FROM moved', city, partition_name);
    GET DIAGNOSTICS row_count = ROW_COUNT;
    EXECUTE format('ALTER TABLE public.%I ADD FOREIGN KEY (city_id) REFERENCES public.cities (id),'
                   ' ADD FOREIGN KEY (model_id) REFERENCES public.models (id)', partition_name);
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', partition_name);
    FOR attempt IN 1..10 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '300ms', true);
            LOCK TABLE public.predictions_shared IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('ALTER TABLE public.predictions ATTACH PARTITION public.%I FOR VALUES IN (%L)',
                           partition_name, city);
            PERFORM public.guard_partition(format('public.%I', partition_name)::regclass);
            outcome := 'dedicated';
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.1 * attempt);
        END;
    END LOOP;
    RAISE EXCEPTION 'busy' USING ERRCODE = 'lock_not_available';
EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
    outcome := 'busy';
    row_count := NULL;
END $$;
COMMENT ON FUNCTION ops.dedicate_partition(uuid, text, bigint) IS
    'Moves a city''s current predictions into a partition of their own: dedicated, already (in partition_name), or busy or too large (no change)';
