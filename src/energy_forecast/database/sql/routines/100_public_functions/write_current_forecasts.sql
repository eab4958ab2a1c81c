/* AFTER a statement that inserted vintages: those of live runs and replays become the current forecast, unless a later issue
   is stored. The bounds are the outermost quantiles, if their levels are symmetric. No role but the owner can write
   predictions, so a current forecast has the values of its vintage; the row has no foreign key to the run for that reason,
   which a change of the run would check for every row.

   UPDATE first, because ON CONFLICT locks each row before it updates it, which writes a fifth of the WAL. The second
   statement writes the new intervals, and those of another session that committed meanwhile. */
CREATE OR REPLACE FUNCTION write_current_forecasts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET work_mem = '64MB'
    AS $$
DECLARE
    earliest timestamptz;
    latest timestamptz;
BEGIN
    SELECT min(a.first_timestamp), max(a.last_timestamp) INTO earliest, latest
    FROM added a JOIN public.forecast_runs r ON r.id = a.run_id
    WHERE r.purpose <> 'backtest';
    IF earliest IS NULL THEN
        RETURN NULL;
    END IF;
    -- Two writers that update the same rows in another order would wait for each other
    PERFORM pg_advisory_xact_lock(hashtext('energy_forecast current forecasts'));
    WITH issued AS MATERIALIZED (
        SELECT DISTINCT ON (v.city_id, v.model_id, t.timestamp)
               v.city_id, v.model_id, t.timestamp, v.run_id, v.issued_at, v.level,
               v.predicted_consumption[i.place]::numeric(12,2) AS predicted,
               CASE WHEN v.level > 0 THEN v.quantiles[(i.place - 1) * v.quantile_count + 1]::double precision::numeric(12,2)
                    END AS lower,
               CASE WHEN v.level > 0 THEN v.quantiles[i.place * v.quantile_count]::double precision::numeric(12,2) END AS upper
        FROM (
            SELECT c.*, CASE WHEN abs(r.quantile_levels[1] + r.quantile_levels[r.quantile_count] - 1) < 0.000001
                             -- Rounded to 0 or 1, it is not a confidence level
                             THEN nullif(nullif((r.quantile_levels[r.quantile_count] - r.quantile_levels[1])::numeric(4,3), 0), 1)
                             END AS level
            FROM added c JOIN public.forecast_runs r ON r.id = c.run_id
            WHERE r.purpose <> 'backtest') v
        CROSS JOIN LATERAL generate_series(1, cardinality(v.predicted_consumption)) AS i (place)
        CROSS JOIN LATERAL (
            SELECT v.first_timestamp + (i.place - 1) * make_interval(mins => v.interval_minutes) AS timestamp OFFSET 0) t
        ORDER BY v.city_id, v.model_id, t.timestamp, v.issued_at DESC, v.run_id DESC
    ), updated AS (
        UPDATE public.predictions p SET
            predicted_consumption = n.predicted, confidence_lower = n.lower, confidence_upper = n.upper,
            confidence_level = n.level, run_id = n.run_id, issued_at = n.issued_at, created_at = now()
        FROM issued n
        WHERE p.city_id = n.city_id AND p.model_id = n.model_id AND p.timestamp = n.timestamp
          AND p.timestamp >= earliest AND p.timestamp <= latest AND p.issued_at <= n.issued_at
        RETURNING p.city_id, p.model_id, p.timestamp)
    INSERT INTO public.predictions AS p
        (city_id, model_id, timestamp, predicted_consumption, confidence_lower, confidence_upper, confidence_level, run_id,
         issued_at)
    SELECT n.city_id, n.model_id, n.timestamp, n.predicted, n.lower, n.upper, n.level, n.run_id, n.issued_at
    FROM issued n LEFT JOIN updated u USING (city_id, model_id, timestamp)
    WHERE u.city_id IS NULL
    ORDER BY n.city_id, n.model_id, n.timestamp
    ON CONFLICT (city_id, model_id, timestamp) DO UPDATE SET
        predicted_consumption = excluded.predicted_consumption, confidence_lower = excluded.confidence_lower,
        confidence_upper = excluded.confidence_upper, confidence_level = excluded.confidence_level,
        run_id = excluded.run_id, issued_at = excluded.issued_at, created_at = now()
    WHERE excluded.issued_at >= p.issued_at;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION write_current_forecasts() IS 'Makes new vintages of live runs and replays the current forecast';
