/* For each month that a batch fills before attaching it: as record_changed_consumption(), which sees only the rows of
   statements on the table. Nothing to do for nearly all of these months, because they ended long ago. */
CREATE OR REPLACE FUNCTION record_attached_consumption() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    since timestamptz := date_trunc('hour', now() - interval '744 hours');
BEGIN
    IF to_timestamp(right(NEW.partition_name, 7), 'YYYY"m"MM') + interval '1 month' > since THEN
        EXECUTE format('INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)'
            ' SELECT c.city_id, date_trunc(''hour'', min(c.timestamp)), date_trunc(''hour'', max(c.timestamp))'
            ' FROM %s c WHERE c.timestamp >= $1 GROUP BY c.city_id', ops.loading_table(NEW.partition_name)) USING since;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_attached_consumption() IS
    'Records the hours of the last 31 days in a month that was filled before it was attached, in ops.changed_consumption';
