CREATE OR REPLACE FUNCTION consumption_at_utc_hour(utc_hour integer)
    RETURNS TABLE (city_id uuid, city text, mean_kwh numeric, highest_kwh numeric, peak_kw numeric, hours bigint)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT c.id, c.name::text, avg(h.total_consumption), max(h.total_consumption), max(h.peak_demand), count(*)
    FROM public.hourly_consumption h JOIN public.cities c ON c.id = h.city_id
    WHERE extract(hour FROM h.hour AT TIME ZONE 'UTC') = utc_hour AND h.covered_minutes = 60
      AND h.city_id = ANY ((SELECT public.readable_cities())::uuid[])
    GROUP BY c.id, c.name
    ORDER BY c.name
$$;
COMMENT ON FUNCTION consumption_at_utc_hour(integer) IS
    'Consumption of each readable city at one hour of the UTC day over the last 30 days (kWh, kW), complete hours only';
