/* For each month that a batch fills before attaching it: as record_changed_consumption(), which sees only the rows of
   statements on the table. The roll-up needs the rows of recent months only. For scores the row is for every city, because
   finding those of the month would read it again. */
CREATE OR REPLACE FUNCTION record_attached_consumption() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    since timestamptz := date_trunc('hour', now() - interval '744 hours');
    month timestamptz := to_timestamp(right(NEW.partition_name, 7), 'YYYY"m"MM');
BEGIN
    INSERT INTO ops.hours_to_score (first_hour, last_hour) VALUES (month, month + interval '1 month');
    IF month + interval '1 month' > since THEN
        EXECUTE format('INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)'
            ' SELECT c.city_id, date_trunc(''hour'', min(c.timestamp)), date_trunc(''hour'', max(c.timestamp))'
            ' FROM %s c WHERE c.timestamp >= $1 GROUP BY c.city_id', ops.loading_table(NEW.partition_name)) USING since;
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_attached_consumption() IS
    'Records a month that was filled before it was attached in ops.hours_to_score, and its hours of the last 31 days in ops.changed_consumption';
