/* The position is one of ops.audit_chain, which has every load and forecast in the order of the commits. A transaction that
   appends to the chain holds the lock of its first row until its commit is visible, and takes its position after the lock. So
   whoever sees a position also sees all positions before it: a transaction that commits late gets a later position than every
   answer before its commit. No change is missed, however long a transaction was open.

   Scores have no audit entry. `window_start` is three hours before the previous call, and `window_scores` the number of the
   reader's scores since then. A score that was committed later changes the number, if its transaction was open for less than
   three hours; then the cities with scores of the window are changed. A city may be reported again, but is not left out.

   The position would tell the activity of other cities. So it is masked with a number derived from a new random one and the
   hash of the first link, which readers cannot see; a tag of both and the role rejects a forged or foreign position. */
CREATE OR REPLACE FUNCTION ops.changes_since(since bytea, window_start timestamptz, window_scores bigint)
    RETURNS TABLE (city text, changed text, recorded_at timestamptz, cursor bytea, next_start timestamptz, next_scores bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT bigint := 100000;
    readable uuid[] := public.readable_cities();
    secret bytea;
    head bigint;
    place bigint;
    nonce bytea := uuid_send(gen_random_uuid());
    next_cursor bytea;
    starts timestamptz := clock_timestamp() - interval '3 hours';
    scores bigint;
    has_new_scores boolean := false;
BEGIN
    SELECT c.hash INTO STRICT secret FROM ops.audit_chain c WHERE c.sequence = 0;
    SELECT max(c.sequence) INTO STRICT head FROM ops.audit_chain c;
    IF since IS NOT NULL THEN
        IF octet_length(since) = 40 THEN
            place := ('x' || encode(substr(since, 17, 8), 'hex'))::bit(64)::bigint
                # ('x' || encode(substr(sha256(secret || substr(since, 1, 16)), 1, 8), 'hex'))::bit(64)::bigint;
        END IF;
        IF place IS NULL OR substr(since, 25) <> substr(sha256(
            secret || substr(since, 1, 24) || convert_to(public.acting_role()::text, 'UTF8')), 1, 16) THEN
            RETURN;
        END IF;
        SELECT count(*) <> window_scores INTO has_new_scores
        FROM public.forecast_scores s WHERE s.city_id = ANY (readable) AND s.created_at >= window_start;
    END IF;
    SELECT count(*) INTO scores FROM public.forecast_scores s WHERE s.city_id = ANY (readable) AND s.created_at >= starts;
    next_cursor := nonce || int8send(head # ('x' || encode(substr(sha256(secret || nonce), 1, 8), 'hex'))::bit(64)::bigint);
    next_cursor := next_cursor || substr(sha256(
        secret || next_cursor || convert_to(public.acting_role()::text, 'UTF8')), 1, 16);
    RETURN QUERY
    WITH kinds (table_name, changed) AS (
        VALUES ('energy_consumption', 'consumption'), ('energy_consumption_revisions', 'consumption'), ('weather_data', 'weather'),
               ('weather_data_revisions', 'weather'), ('weather_forecasts', 'weather-forecasts'),
               ('prediction_vintages', 'forecasts'), ('model_promotions', 'champions')
    ), found AS (
        SELECT u.city_id, k.changed, a.timestamp AS at
        FROM ops.audit_chain c JOIN public.audit_log a ON a.id = c.audit_id JOIN kinds k ON k.table_name = a.table_name
        CROSS JOIN LATERAL unnest(a.city_ids) AS u (city_id)
        WHERE c.sequence > place AND c.sequence <= head AND head - place <= most AND u.city_id = ANY (readable)
        UNION ALL
        SELECT s.city_id, 'scores', s.created_at
        FROM public.forecast_scores s
        WHERE has_new_scores AND s.city_id = ANY (readable) AND s.created_at >= window_start
        UNION ALL
        -- Too many entries to look through: everything may have changed
        SELECT r.city_id, k.changed, NULL FROM unnest(readable) AS r (city_id) CROSS JOIN kinds k WHERE head - place > most
    ), changes AS (
        SELECT y.name::text AS city, f.changed, max(f.at) AS at
        FROM found f JOIN public.cities y ON y.id = f.city_id
        GROUP BY y.name, f.changed)
    -- The next position also without a change
    SELECT n.city, n.changed, n.at, next_cursor, starts, scores
    FROM (SELECT 1) AS one LEFT JOIN changes n ON true
    ORDER BY n.city, n.changed;
END $$;
COMMENT ON FUNCTION ops.changes_since(bytea, timestamptz, bigint) IS
    'Cities of the acting role whose loads, forecasts, champions or scores have changed since a position, which a call before returned; a null position gives only the present one. A row without a city has only the next position. No row: it is not a position of the role';
