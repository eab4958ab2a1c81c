/* A meter in a half-hour zone that counts local hours starts them at half past, UTC. Its hours must not be mixed. The most
   common start of the last known 28 days counts, so that a single row does not move a city's hours. Corrected values count
   as they were, so that a later correction does not move them either. Counted, not sorted as mode() would. */
CREATE OR REPLACE FUNCTION load_phase_as_of(city uuid, as_of timestamptz)
    RETURNS integer
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    last_time timestamptz := greatest(
        (SELECT k.timestamp FROM public.energy_consumption k
         WHERE k.city_id = city AND k.timestamp < as_of AND k.available_at <= as_of
         ORDER BY k.timestamp DESC LIMIT 1),
        (SELECT r.timestamp FROM public.energy_consumption_revisions r
         WHERE r.city_id = city AND r.timestamp < as_of AND r.available_at <= as_of
         ORDER BY r.timestamp DESC LIMIT 1));
BEGIN
    RETURN coalesce((
        SELECT CASE WHEN c.interval_minutes = 60 THEN extract(minute FROM c.timestamp AT TIME ZONE 'UTC')::integer
                    ELSE 0 END AS phase
        FROM public.consumption_as_of(city, as_of, last_time - interval '672 hours', as_of) c
        GROUP BY 1
        -- The most common phase; of equally common ones the smallest
        ORDER BY count(*) DESC, 1
        LIMIT 1), 0);
END $$;
COMMENT ON FUNCTION load_phase_as_of(uuid, timestamptz) IS
    'The minute past the UTC hour at which a city''s hours begin: 0, except for hourly values that begin off the full hour';
