/* The rule for whether a forecast was issued in time; scores, coverage reports, forecast_as_of() and exports use it. The
   constraint forecast_run_in_time refuses a live run by the same 3 hours; pipelines/forecast.py makes it a replay after 2.
   Replays and backtests are recorded afterwards by definition, so the rule applies to live runs only. A meter that reports
   every 15 minutes has then reported at most one value of the hour. Without SET search_path, so that a query can inline it;
   subtraction of timestamps is immutable, adding an interval is not. */
CREATE OR REPLACE FUNCTION vintage_counts(
    purpose text, issued_at timestamptz, target timestamptz, run_recorded_at timestamptz, recorded_at timestamptz)
    RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    SELECT purpose <> 'live' OR (
        recorded_at = run_recorded_at AND recorded_at >= issued_at AND recorded_at - issued_at <= interval '3 hours'
        AND recorded_at - target <= interval '15 minutes')
$$;
COMMENT ON FUNCTION vintage_counts(text, timestamptz, timestamptz, timestamptz, timestamptz) IS
    'Whether a vintage is scorable: for a live run, it was recorded with its run, at most 3 hours after its issue, and before 15 minutes of the target hour had passed';
