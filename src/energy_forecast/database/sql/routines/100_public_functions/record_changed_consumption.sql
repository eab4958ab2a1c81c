/* One row per city and statement, for any number of rows: computing the hours here would cost a load as much as an index,
   and make writers of one hour wait for each other. A day more than the view shows, for transactions that stay open. The
   limit is computed once, because in the condition it would be computed for every row. */
CREATE OR REPLACE FUNCTION record_changed_consumption() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    since timestamptz := date_trunc('hour', now() - interval '744 hours', 'UTC');
BEGIN
    INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
    SELECT c.city_id, date_trunc('hour', min(c.timestamp), 'UTC'), date_trunc('hour', max(c.timestamp), 'UTC')
    FROM changed c
    WHERE c.timestamp >= since
    GROUP BY c.city_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_changed_consumption() IS
    'Records the hours of the last 31 days that a statement changed, by city, in ops.changed_consumption';
