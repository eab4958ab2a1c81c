/* Almost every day has 1440. The others are counted, not worked out from two midnights: a midnight may be missing (Sao
   Paulo), come twice (Havana), or be taken back after a minute (St John's until 2011), and a day may be left out (Apia,
   2011-12-30). Noon is never moved. */
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
    'Minutes of a local day that intervals of some minutes cover which start in it, one of them at the anchor; with steps of one minute, the length of the day';
