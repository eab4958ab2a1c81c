/* As load_phase_as_of(), for what is known now, with the caller's own rights. 672 hours and not 28 days: a day added to a
   moment has the length that it has in the session's zone. */
CREATE OR REPLACE FUNCTION city_hour_phase(city uuid, until timestamptz)
    RETURNS integer
    LANGUAGE sql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT coalesce((
        SELECT mode() WITHIN GROUP (ORDER BY
            CASE WHEN c.interval_minutes = 60 THEN extract(minute FROM c.timestamp AT TIME ZONE 'UTC')::integer ELSE 0 END)
        FROM public.energy_consumption c
        WHERE c.city_id = city AND c.timestamp < until AND c.timestamp >= (
            SELECT max(k.timestamp) FROM public.energy_consumption k WHERE k.city_id = city AND k.timestamp < until
        ) - interval '672 hours'), 0)
$$;
COMMENT ON FUNCTION city_hour_phase(uuid, timestamptz) IS
    'The minute past the UTC hour at which a city''s hours begin, by its last 28 days before a moment: 0, but for hourly values that begin elsewhere';
