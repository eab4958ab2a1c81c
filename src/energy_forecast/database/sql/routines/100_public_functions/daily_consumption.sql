/* An interval belongs to the local day in which it starts, so that each is counted once. With an interval across midnight,
   a day of 23.5 hours has 23 or 24 hours of starts: `is_complete` compares with the possible starts, not with the length. */
CREATE OR REPLACE FUNCTION daily_consumption(city uuid, first_day date, last_day date)
    RETURNS TABLE (local_date date, hours numeric, hours_known numeric, total_consumption numeric,
                   peak_demand numeric, is_complete boolean)
    LANGUAGE plpgsql STABLE SECURITY INVOKER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    zone text;
BEGIN
    IF (last_day - first_day BETWEEN 0 AND 36525 AND first_day >= date '1970-01-01' AND last_day < date '2200-01-01')
       IS NOT TRUE THEN
        RAISE EXCEPTION 'The range from % to % is not between 1 and 36525 days', first_day, last_day
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT c.timezone INTO zone FROM public.cities c WHERE c.id = city;
    IF zone IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT d.day, round(d.minutes / 60.0, 4), round(coalesce(k.minutes, 0) / 60.0, 4), k.kwh, k.peak,
           coalesce(k.minutes = CASE WHEN d.minutes = 1440 THEN 1440
                                ELSE public.local_day_minutes(d.day, zone, k.interval_minutes, k.first) END, false)
    FROM (
        SELECT first_day + n, public.local_day_minutes(first_day + n, zone)
        FROM generate_series(0, last_day - first_day) AS n) AS d (day, minutes)
    LEFT JOIN (
        SELECT (c.timestamp AT TIME ZONE zone)::date, sum(c.consumption_kwh), max(c.peak_demand_kw),
               sum(c.interval_minutes), mode() WITHIN GROUP (ORDER BY c.interval_minutes)::integer, min(c.timestamp)
        FROM public.energy_consumption c
        WHERE c.city_id = city
          AND c.timestamp >= (first_day - 1)::timestamp AT TIME ZONE 'UTC'
          AND c.timestamp < (last_day + 2)::timestamp AT TIME ZONE 'UTC'
        GROUP BY 1) AS k (day, kwh, peak, minutes, interval_minutes, first) ON k.day = d.day
    WHERE d.minutes > 0
    ORDER BY d.day;
END $$;
COMMENT ON FUNCTION daily_consumption(uuid, date, date) IS
    'Consumption of a city by local day, kWh: 23, 24 or 25 hours (or half hours if the clock changes by one), the known hours, and whether the day is complete';
