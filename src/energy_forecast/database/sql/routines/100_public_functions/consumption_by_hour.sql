/* Full UTC hours of the last 30 days are in the roll-up, except the changed range. Values are read only for that range and
   for the hours cut by the bounds. If values arrive hour by hour, each row of a city and hour is on a different page; of
   ten-minute values the roll-up reads a sixth. It does not pay off below two days. */
CREATE OR REPLACE FUNCTION consumption_by_hour(
    city uuid, first_time timestamptz, end_time timestamptz, phase_minutes integer)
    RETURNS TABLE (hour timestamptz, total_consumption numeric, peak_demand numeric, minutes_known integer)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    first_whole timestamptz := date_trunc('hour', first_time + interval '1 hour' - interval '1 microsecond', 'UTC');
    end_whole timestamptz := date_trunc('hour', end_time, 'UTC');
    changed_from timestamptz := end_whole;
    changed_until timestamptz := end_whole;
BEGIN
    IF phase_minutes <> 0 OR end_time - first_time < interval '48 hours'
       OR first_time < date_trunc('hour', now() - interval '720 hours', 'UTC') THEN
        RETURN QUERY
        SELECT v.hour, v.total_consumption, v.peak_demand, v.minutes_known
        FROM public.consumption_from_values(city, first_time, end_time, phase_minutes) v;
        RETURN;
    END IF;
    SELECT greatest(first_whole, least(end_whole, coalesce(min(k.first_hour), end_whole))),
           greatest(first_whole, least(end_whole, coalesce(max(k.last_hour) + interval '1 hour', end_whole)))
    INTO changed_from, changed_until
    FROM ops.changed_consumption k WHERE k.city_id = city;
    RETURN QUERY
    SELECT v.hour, v.total_consumption, v.peak_demand, v.minutes_known
    FROM public.consumption_from_values(city, first_time, first_whole, 0) v
    UNION ALL
    SELECT r.hour, r.total_consumption, r.peak_demand, r.covered_minutes
    FROM public.hourly_consumption_rollup r
    WHERE r.city_id = city AND r.hour >= first_whole AND r.hour < end_whole
      AND (r.hour < changed_from OR r.hour >= changed_until)
    UNION ALL
    SELECT v.hour, v.total_consumption, v.peak_demand, v.minutes_known
    FROM public.consumption_from_values(city, changed_from, changed_until, 0) v
    UNION ALL
    SELECT v.hour, v.total_consumption, v.peak_demand, v.minutes_known
    FROM public.consumption_from_values(city, end_whole, end_time, 0) v
    ORDER BY 1;
END $$;
COMMENT ON FUNCTION consumption_by_hour(uuid, timestamptz, timestamptz, integer) IS
    'Present consumption of a city by hour, kWh, with peak demand, kW. An hour with fewer than 60 known minutes is incomplete; with more than 60, intervals overlap';
