-- A value of an attached month that is not available yet is found here, because the month was not read when it was attached
CREATE OR REPLACE FUNCTION ops.assign_hours_to_score() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    WITH everywhere AS (
        DELETE FROM ops.hours_to_score h WHERE h.city_id IS NULL RETURNING h.first_hour, h.last_hour
    ), span AS (
        SELECT CASE WHEN bool_and(e.first_hour IS NOT NULL) THEN min(e.first_hour) END AS first_hour,
               CASE WHEN bool_and(e.last_hour IS NOT NULL) THEN max(e.last_hour) END AS last_hour
        FROM everywhere e HAVING count(*) > 0
    ), later AS (
        SELECT v.city_id, max(v.available_at) AS known_at
        FROM everywhere e JOIN public.energy_consumption v ON v.timestamp >= e.first_hour AND v.timestamp < e.last_hour
        WHERE v.available_at > now()
        GROUP BY v.city_id
    )
    INSERT INTO ops.hours_to_score (city_id, first_hour, last_hour, known_at)
    SELECT c.id, s.first_hour, s.last_hour, coalesce(l.known_at, '-infinity')
    FROM span s CROSS JOIN public.cities c LEFT JOIN later l ON l.city_id = c.id
    WHERE EXISTS (SELECT FROM public.prediction_vintages v WHERE v.city_id = c.id)
$$;
COMMENT ON FUNCTION ops.assign_hours_to_score() IS
    'Replaces the rows of ops.hours_to_score for every city by one row for each city with forecasts';
