/* Almost every day has 1440 minutes. The others are counted, not derived from two midnights: a midnight may be missing (Sao
   Paulo), occur twice (Havana), or be set back after a minute (St John's until 2011), and a day may be skipped (Apia,
   2011-12-30). Noon is never affected. */
CREATE OR REPLACE FUNCTION local_day_minutes(
    day date, zone text, step_minutes integer DEFAULT 1,
    anchor timestamptz DEFAULT timestamptz '2000-01-01 00:00:00+00')
    RETURNS integer
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT CASE
        WHEN ((day + 1) + time '12:00') AT TIME ZONE zone - ((day - 1) + time '12:00') AT TIME ZONE zone
             = interval '48 hours' THEN 1440
        ELSE step_minutes * (
            SELECT count(*)::integer
            FROM generate_series(
                date_bin(make_interval(mins => step_minutes), (day - 1)::timestamp AT TIME ZONE 'UTC', anchor),
                (day + 2)::timestamp AT TIME ZONE 'UTC', make_interval(mins => step_minutes)) AS s (moment)
            WHERE (s.moment AT TIME ZONE zone)::date = day)
        END
$$;
COMMENT ON FUNCTION local_day_minutes(date, text, integer, timestamptz) IS
    'The minutes covered by the intervals that start in a local day, on a grid of step_minutes through the anchor; with steps of one minute, the length of the day';
