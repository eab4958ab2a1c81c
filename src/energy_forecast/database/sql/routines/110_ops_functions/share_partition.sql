/* The reverse of ops.dedicate_partition(). The shared partition accepts the rows only after the city's own is detached, so
   readers wait while they are written (3,200 rows per second, on a busy machine; more than `most_rows` are rejected). */
CREATE OR REPLACE FUNCTION ops.share_partition(
    city uuid, most_rows bigint DEFAULT 3000, OUT outcome text, OUT partition_name text, OUT row_count bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock(hashtext('energy_forecast partitions'));
    SELECT p.partition_name INTO partition_name FROM ops.partitions() p
    WHERE p.table_name = 'predictions' AND p.city_id = city;
    IF NOT FOUND THEN
        outcome := 'already';
        RETURN;
    END IF;
    LOCK TABLE public.predictions IN SHARE ROW EXCLUSIVE MODE;
    CREATE TEMPORARY TABLE moving_predictions (LIKE public.predictions) ON COMMIT DROP;
    INSERT INTO moving_predictions SELECT p.* FROM public.predictions p WHERE p.city_id = city;
    GET DIAGNOSTICS row_count = ROW_COUNT;
    IF row_count > most_rows THEN
        outcome := 'too large';
        DROP TABLE moving_predictions;
        RETURN;
    END IF;
    -- The rows are recorded again, which sets their created_at; the vintages keep the original one
    UPDATE moving_predictions SET created_at = now();
    FOR attempt IN 1..10 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            EXECUTE format('DROP TABLE public.%I', partition_name);
            -- The locks of the drop are held until the end of the transaction
            INSERT INTO public.predictions SELECT * FROM moving_predictions;
            DROP TABLE moving_predictions;
            outcome := 'shared';
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
COMMENT ON FUNCTION ops.share_partition(uuid, bigint) IS
    'Moves a city''s current predictions back into the shared partition: shared, already, or busy or too large (no change)';
