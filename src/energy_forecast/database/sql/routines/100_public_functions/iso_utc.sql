CREATE OR REPLACE FUNCTION iso_utc(moment timestamptz) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
    RETURN replace(to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '');
COMMENT ON FUNCTION iso_utc(timestamptz) IS 'A time in the format of files: 2026-03-01T14:00:00Z, with microseconds if they are not zero';
