/* The rule for which forecasts were issued in time; scores, coverage reports, forecast_as_of() and exports use it. The
   constraint forecast_run_in_time refuses a live run by the same 3 hours; pipelines/forecast.py makes it a replay after 2.
   Replays and backtests are recorded afterwards by definition, so the rule applies to live runs only. A meter that reports
   every 15 minutes has then reported at most one value of the hour. Without SET search_path, so that a query can inline it. */
CREATE OR REPLACE FUNCTION scorable_from(
    purpose text, issued_at timestamptz, run_recorded_at timestamptz, recorded_at timestamptz) RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT CASE
        WHEN purpose <> 'live' THEN timestamptz '-infinity'
        WHEN recorded_at = run_recorded_at AND recorded_at >= issued_at AND recorded_at - issued_at <= interval '3 hours'
            THEN recorded_at - interval '15 minutes' END
$$;
COMMENT ON FUNCTION scorable_from(text, timestamptz, timestamptz, timestamptz) IS
    'The first target time for which a vintage is scorable, null for none: a vintage of a live run must be recorded with its run, at most 3 hours after its issue, and before 15 minutes of the target had passed';
