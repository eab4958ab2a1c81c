/* One row per city and statement, for any number of rows: computing the hours here would cost a load as much as an index,
   and make writers of one hour wait for each other. For the roll-up a day more than the view shows, for transactions that
   stay open; for scores any age. The limit is computed once, because in the condition it would be computed for every row. */
CREATE OR REPLACE FUNCTION record_changed_consumption() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    since timestamptz := date_trunc('hour', now() - interval '744 hours', 'UTC');
    one record;
    -- Two: more than one
    row_count integer := (SELECT count(*) FROM (SELECT FROM changed LIMIT 2) few);
BEGIN
    IF row_count = 0 THEN
        RETURN NULL;  -- INSERT ... ON CONFLICT DO UPDATE of a new row is also an UPDATE, of no row
    END IF;
    IF row_count = 1 THEN
        -- A single value needs no groups, which take 0.1 ms
        SELECT c.city_id, c.timestamp, c.available_at INTO one FROM changed c;
        INSERT INTO ops.hours_to_score (city_id, first_hour, last_hour, known_at)
        VALUES (one.city_id, one.timestamp, one.timestamp, one.available_at);
        IF one.timestamp >= since THEN
            INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
            VALUES (one.city_id, date_trunc('hour', one.timestamp, 'UTC'), date_trunc('hour', one.timestamp, 'UTC'));
        END IF;
        RETURN NULL;
    END IF;
    WITH by_city AS (
        SELECT c.city_id, min(c.timestamp) AS first_time, max(c.timestamp) AS last_time,
               min(c.timestamp) FILTER (WHERE c.timestamp >= since) AS recent_time, max(c.available_at) AS known_at
        FROM changed c
        GROUP BY c.city_id
    ), to_score AS (
        INSERT INTO ops.hours_to_score (city_id, first_hour, last_hour, known_at)
        SELECT b.city_id, b.first_time, b.last_time, b.known_at FROM by_city b
    )
    INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
    SELECT b.city_id, date_trunc('hour', b.recent_time, 'UTC'), date_trunc('hour', b.last_time, 'UTC')
    FROM by_city b
    WHERE b.recent_time IS NOT NULL;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_changed_consumption() IS
    'Records the hours that a statement changed, by city: in ops.hours_to_score, and those of the last 31 days in ops.changed_consumption';
