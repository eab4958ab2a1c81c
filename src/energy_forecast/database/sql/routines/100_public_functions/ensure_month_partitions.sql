CREATE OR REPLACE FUNCTION ensure_month_partitions(parent text, first_time timestamptz, last_time timestamptz)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    month timestamptz := date_trunc('month', first_time, 'UTC');
    partition_name text;
    created integer := 0;
BEGIN
    IF parent NOT IN ('energy_consumption', 'weather_data', 'weather_forecasts', 'prediction_vintages') THEN
        RAISE EXCEPTION 'Table % is not partitioned by month', parent USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (first_time >= '1970-01-01 00:00:00+00' AND last_time < '2200-01-01 00:00:00+00') IS NOT TRUE
       OR last_time < first_time OR last_time - first_time > interval '36525 days' THEN
        RAISE EXCEPTION 'The range of partitions from % to % is not plausible', first_time, last_time
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WHILE month <= last_time LOOP
        partition_name := parent || to_char(month AT TIME ZONE 'UTC', '"_y"YYYY"m"MM');
        IF to_regclass('public.' || partition_name) IS NULL THEN
            -- One session at a time; the second one finds the partition of the first. Not by to_regclass(), which
            -- reads the session's cache; waiting for this lock does not refresh it
            PERFORM pg_advisory_xact_lock(hashtext('energy_forecast partitions'));
            IF NOT EXISTS (SELECT FROM pg_class
                           WHERE relname = partition_name AND relnamespace = 'public'::regnamespace) THEN
                PERFORM public.make_month_table(parent, 'public', partition_name);
                PERFORM public.attach_month_table(parent, partition_name, month);
                created := created + 1;
            END IF;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN created;
END $$;
COMMENT ON FUNCTION ensure_month_partitions(text, timestamptz, timestamptz) IS
    'Creates the missing monthly partitions of a table between two times; returns their number';
