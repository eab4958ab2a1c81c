/* A backtest is recorded city by city, can be interrupted, and can continue an earlier one, so its runs share no time with
   its score. The issue times identify the scored forecasts instead. */
ALTER TABLE forecast_scores
    ADD COLUMN issued_from  TIMESTAMP WITH TIME ZONE,
    ADD COLUMN issued_until TIMESTAMP WITH TIME ZONE,
    ADD COLUMN issued_every INTERVAL,
    ADD COLUMN horizon      INTERVAL,
    ADD CONSTRAINT forecast_score_issues CHECK (num_nulls(issued_from, issued_until, issued_every, horizon) IN (0, 4)
        AND issued_until >= issued_from AND issued_every > INTERVAL '0' AND horizon > INTERVAL '0');
COMMENT ON COLUMN forecast_scores.issued_from IS 'Of a backtest: its first moment of issue; null otherwise';
COMMENT ON COLUMN forecast_scores.issued_until IS 'Of a backtest: its last moment of issue';
COMMENT ON COLUMN forecast_scores.issued_every IS 'Of a backtest: the time between two issues';
COMMENT ON COLUMN forecast_scores.horizon IS 'Of a backtest: the longest lead time of its runs';
