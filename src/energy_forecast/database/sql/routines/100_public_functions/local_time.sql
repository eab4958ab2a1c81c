CREATE OR REPLACE FUNCTION local_time(moment timestamptz, zone text)
    RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT to_char(moment AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI') || ' '
        || CASE WHEN o.minutes < 0 THEN '-' ELSE '+' END
        || to_char(abs(o.minutes) / 60, 'FM00') || ':' || to_char(abs(o.minutes) % 60, 'FM00')
    FROM (SELECT (extract(epoch FROM (moment AT TIME ZONE zone) - (moment AT TIME ZONE 'UTC')) / 60)::integer
          AS minutes) o
$$;
COMMENT ON FUNCTION local_time(timestamptz, text) IS
    'A time in a zone with its offset, such as 2026-10-25 02:30 +01:00; the offset distinguishes repeated hours';
