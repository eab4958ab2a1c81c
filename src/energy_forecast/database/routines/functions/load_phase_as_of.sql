/* A meter in a half-hour zone that counts local hours starts them at half past, UTC. Its hours must not be mixed. The
   commonest start of the last known 28 days counts, so that a stray row does not move a city's hours; and values since
   corrected count as they were, so that a later correction moves nothing either. */
CREATE OR REPLACE FUNCTION load_phase_as_of(city uuid, as_of timestamptz)
    RETURNS integer
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT coalesce((
        SELECT mode() WITHIN GROUP (ORDER BY
            CASE WHEN c.interval_minutes = 60 THEN extract(minute FROM c.timestamp AT TIME ZONE 'UTC')::integer ELSE 0 END)
        FROM (
            SELECT greatest(
                (SELECT k.timestamp FROM public.energy_consumption k
                 WHERE k.city_id = city AND k.timestamp < as_of AND k.available_at <= as_of
                 ORDER BY k.timestamp DESC LIMIT 1),
                (SELECT r.timestamp FROM public.energy_consumption_revisions r
                 WHERE r.city_id = city AND r.timestamp < as_of AND r.available_at <= as_of
                 ORDER BY r.timestamp DESC LIMIT 1)) AS last) known,
        LATERAL public.consumption_as_of(city, as_of, known.last - interval '672 hours', as_of) c), 0)
$$;
COMMENT ON FUNCTION load_phase_as_of(uuid, timestamptz) IS
    'The minute past the UTC hour at which a city''s hours begin: 0, but for hourly values that begin elsewhere';
