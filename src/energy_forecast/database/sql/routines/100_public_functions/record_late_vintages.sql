/* A transaction with vintages ends at most 15 minutes after its start, so an hour that is not over by then is recorded with
   its load. */
CREATE OR REPLACE FUNCTION record_late_vintages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO ops.hours_to_score (city_id, first_hour, last_hour, has_new_forecasts)
    SELECT a.city_id, min(a.first_timestamp), least(max(a.last_timestamp), now()), true
    FROM added a
    WHERE a.first_timestamp <= now() - interval '45 minutes'
      AND a.run_id IN (SELECT r.id FROM forecast_runs r WHERE r.purpose <> 'backtest')
    GROUP BY a.city_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_late_vintages() IS
    'Records in ops.hours_to_score the hours that were over before a forecast of them was stored; backtests are scored by themselves';
