-- A backtest may issue at one local time of each day. Its issue times are then not evenly spaced across clock changes.
ALTER TABLE forecast_scores
    ADD COLUMN issued_at_local TIME,
    ADD CONSTRAINT forecast_score_local_issues CHECK (issued_at_local IS NULL OR issued_every IS NOT NULL);
COMMENT ON COLUMN forecast_scores.issued_at_local IS
    'Of a backtest with --at-local: the local time of its issues; issued_every then counts local days. Null: issued_every is a span of time';
