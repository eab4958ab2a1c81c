/* AFTER a statement that changed observed values or their revisions: as audit_batch_func(), with explicit columns. So a
   session plans it once instead of for every statement, which was 0.6 of the 1.3 ms of CPU of a single value. One row needs no
   sums, which saves a third of the rest. The checksums must equal those of audit_sums_query(); a test compares them. One text
   for all tables, which differ only in columns. */
DO $do$
DECLARE
    target record;
    hashed_columns text;
    -- The contents of one row, with the same arguments
    contents_of_one CONSTANT text := $contents$            SELECT c.created_at = now(), ARRAY[c.city_id], jsonb_build_object(
                       'rows', 1, 'cities', 1,
                       'first', to_char(c.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       'last', to_char(c.timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                       'sums', jsonb_build_object(
                           to_char(date_bin('30 days', c.timestamp, '2000-01-01 00:00:00+00') AT TIME ZONE 'UTC', 'YYYY-MM-DD'),
                           jsonb_build_array(1, hashtextextended(c.hash, 1), hashtextextended(c.hash, 2),
                                             hashtextextended(c.hash, 3), hashtextextended(c.hash, 4))))
            INTO created_now, cities, %1$s
            FROM (SELECT c.*, encode(sha256(record_send(ROW(
                      %3$s))), 'base64')
                      AS hash FROM %2$s c OFFSET 0) c;$contents$;
    -- The contents of the rows of a transition table: %1$s variable, %2$s transition table, %3$s columns
    contents CONSTANT text := $contents$        SELECT coalesce(bool_and(b.created_now), true), array_agg(DISTINCT b.city_id),
               CASE WHEN count(*) > 0 THEN jsonb_build_object(
                   'rows', sum(b.row_count)::bigint, 'cities', count(DISTINCT b.city_id),
                   'first', to_char(min(b.first) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'last', to_char(max(b.last) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                   'sums', jsonb_object_agg(to_char(b.block AT TIME ZONE 'UTC', 'YYYY-MM-DD'), b.sums) FILTER (WHERE b.is_first))
               END
        INTO created_now, cities, %1$s
        FROM (
            SELECT d.*, row_number() OVER (PARTITION BY d.block) = 1 AS is_first,
                   jsonb_build_array(sum(d.row_count) OVER w, sum(d.sum_1) OVER w, sum(d.sum_2) OVER w, sum(d.sum_3) OVER w,
                                     sum(d.sum_4) OVER w) AS sums
            FROM (
                SELECT h.city_id, date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00') AS block, count(*) AS row_count,
                       min(h.timestamp) AS first, max(h.timestamp) AS last, bool_and(h.created_at = now()) AS created_now,
                       sum(hashtextextended(h.hash, 1)) AS sum_1, sum(hashtextextended(h.hash, 2)) AS sum_2,
                       sum(hashtextextended(h.hash, 3)) AS sum_3, sum(hashtextextended(h.hash, 4)) AS sum_4
                FROM (SELECT c.*, encode(sha256(record_send(ROW(
                          %3$s))), 'base64')
                          AS hash FROM %2$s c OFFSET 0) h
                GROUP BY h.city_id, date_bin('30 days', h.timestamp, '2000-01-01 00:00:00+00')) d
            WINDOW w AS (PARTITION BY d.block)) b;$contents$;
BEGIN
    FOR target IN
        SELECT * FROM (VALUES
            ('audit_consumption_func', 'energy_consumption', 'c.consumption_kwh, c.peak_demand_kw, c.metadata', ''),
            ('audit_weather_func', 'weather_data', 'c.temperature, c.humidity, c.wind_speed, c.precipitation', ''),
            ('audit_consumption_revision_func', 'energy_consumption_revisions',
                'c.consumption_kwh, c.peak_demand_kw, c.metadata', ', c.superseded_at'),
            ('audit_weather_revision_func', 'weather_data_revisions',
                'c.temperature, c.humidity, c.wind_speed, c.precipitation', ', c.superseded_at')
        ) AS audited (name, relation, value_columns, last_column)
    LOOP
        hashed_columns := format('c.city_id, c.timestamp, %s, c.created_at, c.available_at, c.interval_minutes%s',
                                 target.value_columns, target.last_column);
        EXECUTE format($function$
CREATE OR REPLACE FUNCTION public.%1$I() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET work_mem = '64MB'
    AS $body$
DECLARE
    created_now boolean;
    cities uuid[];
    removed jsonb;
    added jsonb;
    -- Two: more than one
    row_count integer;
BEGIN
    IF TG_OP = 'DELETE' THEN
        row_count := (SELECT count(*) FROM (SELECT FROM replaced LIMIT 2) few);
    ELSE
        row_count := (SELECT count(*) FROM (SELECT FROM changed LIMIT 2) few);
    END IF;
    IF row_count = 0 THEN
        RETURN NULL;  -- The statement changed no row, such as INSERT ... ON CONFLICT DO UPDATE of a new one
    END IF;
    IF TG_OP <> 'INSERT' THEN
        IF row_count = 1 THEN
%4$s
        ELSE
%2$s
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        IF row_count = 1 THEN
%5$s
        ELSE
%3$s
        END IF;
        -- A revision has the created_at of its value, which another trigger checks
        IF NOT created_now AND TG_TABLE_NAME NOT LIKE '%%\_revisions' THEN
            IF EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = TG_RELID AND t.tgname = 'append_only' AND t.tgenabled = 'A') THEN
                RAISE EXCEPTION 'created_at of %% can only be set by the database', TG_TABLE_NAME
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            added := added || '{"restored": true}';
        END IF;
    END IF;
    -- A trigger of the log sets user_name
    INSERT INTO public.audit_log (table_name, action, old_data, new_data, city_ids)
    VALUES (TG_TABLE_NAME, TG_OP, removed, added, cities);
    RETURN NULL;
END $body$
$function$, target.name, format(contents, 'removed', 'replaced', hashed_columns),
            format(contents, 'added', 'changed', hashed_columns), format(contents_of_one, 'removed', 'replaced', hashed_columns),
            format(contents_of_one, 'added', 'changed', hashed_columns));
        EXECUTE format('COMMENT ON FUNCTION public.%I() IS %L', target.name, format(
            'Writes a statement that changed %s into audit_log, and rejects rows with a forged created_at', target.relation));
    END LOOP;
END $do$;
