/* For explanations: available_at is stated by the source, and a late value may state the end of its interval. Of the
   versions of a value recorded by `recorded_by`, the last one counts. */
CREATE OR REPLACE FUNCTION consumption_recorded(
    city uuid, as_of timestamptz, recorded_by timestamptz, first_time timestamptz, end_time timestamptz)
    RETURNS TABLE ("timestamp" timestamptz, consumption_kwh numeric, interval_minutes smallint)
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT DISTINCT ON (v.timestamp) v.timestamp, v.consumption_kwh, v.interval_minutes
    FROM (
        SELECT c.timestamp, c.consumption_kwh, c.interval_minutes, c.available_at, c.created_at
        FROM public.energy_consumption c
        WHERE c.city_id = city AND c.timestamp >= first_time AND c.timestamp < end_time
        UNION ALL
        SELECT r.timestamp, r.consumption_kwh, r.interval_minutes, r.available_at, r.created_at
        FROM public.energy_consumption_revisions r
        WHERE r.city_id = city AND r.timestamp >= first_time AND r.timestamp < end_time
    ) v
    WHERE v.available_at <= as_of AND v.created_at <= recorded_by AND public.may_read_city(city)
    ORDER BY v.timestamp, v.available_at DESC, v.created_at DESC
$$;
COMMENT ON FUNCTION consumption_recorded(uuid, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'As consumption_as_of, limited to values that this database had recorded by a second time';
