-- Scores of forecasts against observed load

CREATE TABLE model_metrics (
    id               UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id         UUID NOT NULL REFERENCES models (id),
    timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    mape             DECIMAL(8,4),
    rmse             DECIMAL(12,2),
    mae              DECIMAL(12,2),
    r2_score         DECIMAL(8,4),
    detailed_metrics JSONB DEFAULT '{}',
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT metrics_model_time UNIQUE (model_id, timestamp),
    CONSTRAINT metrics_range CHECK (mape >= 0 AND mape < 'Infinity' AND rmse >= 0 AND rmse < 'Infinity'
        AND mae >= 0 AND mae < 'Infinity' AND r2_score <= 1)
);
COMMENT ON TABLE model_metrics IS
    'One row per model version and evaluation: the unweighted mean of scores, which forecast_scores has in detail. From a '
    'backtest: one score per city, over all lead times. From `score`: the new scores of cities, months and lead-time '
    'buckets. Append-only';
COMMENT ON COLUMN model_metrics.timestamp IS 'When the evaluation was made';
COMMENT ON COLUMN model_metrics.mape IS
    'Mean absolute percentage error, percent; mean of the scores. Hours with an actual of zero are excluded';
COMMENT ON COLUMN model_metrics.rmse IS 'Root mean squared error, kWh in an hour; mean of the scores';
COMMENT ON COLUMN model_metrics.mae IS 'Mean absolute error, kWh in an hour; mean of the scores';
COMMENT ON COLUMN model_metrics.r2_score IS 'Coefficient of determination; mean of the scores';
COMMENT ON COLUMN model_metrics.detailed_metrics IS 'The scope of the evaluation, and pinball loss, coverage and skill';

CREATE INDEX idx_metrics_time ON model_metrics USING BRIN (timestamp);
COMMENT ON INDEX idx_metrics_time IS 'Serves all evaluations in a time range';

CREATE TABLE forecast_scores (
    id                UUID NOT NULL DEFAULT gen_random_uuid(),
    model_id          UUID NOT NULL REFERENCES models (id),
    city_id           UUID NOT NULL REFERENCES cities (id),
    purpose           TEXT NOT NULL,
    weather           TEXT NOT NULL,
    period_start      TIMESTAMP WITH TIME ZONE NOT NULL,
    period_end        TIMESTAMP WITH TIME ZONE NOT NULL,
    lead_start_hours  SMALLINT NOT NULL,
    lead_end_hours    SMALLINT NOT NULL,
    pair_count        INTEGER NOT NULL,
    pair_digest       BYTEA NOT NULL,
    mape              DOUBLE PRECISION,
    mae_kwh           DOUBLE PRECISION NOT NULL,
    rmse_kwh          DOUBLE PRECISION NOT NULL,
    r2_score          DOUBLE PRECISION,
    pinball_kwh       DOUBLE PRECISION NOT NULL,
    coverage_90       DOUBLE PRECISION NOT NULL,
    width_90_kwh      DOUBLE PRECISION NOT NULL,
    skill_naive_168   DOUBLE PRECISION,
    by_hour           JSONB NOT NULL DEFAULT '[]',
    actuals_as_of     TIMESTAMP WITH TIME ZONE NOT NULL,
    issued_from       TIMESTAMP WITH TIME ZONE,
    issued_until      TIMESTAMP WITH TIME ZONE,
    issued_every      INTERVAL,
    issued_at_local   TIME,
    horizon           INTERVAL,
    assumptions       JSONB NOT NULL DEFAULT '{}',
    created_at        TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT forecast_score_id PRIMARY KEY (id, city_id),
    CONSTRAINT forecast_score_purpose CHECK (purpose IN ('live', 'replay', 'backtest')),
    CONSTRAINT forecast_score_weather CHECK (weather IN ('actual', 'simulated', 'forecast', 'none')),
    CONSTRAINT forecast_score_assumptions CHECK (
        (purpose = 'backtest' OR assumptions = '{}') AND (weather = 'simulated') = (assumptions ? 'weather_errors')),
    CONSTRAINT forecast_score_assumptions_form CHECK (are_assumptions(assumptions)),
    CONSTRAINT forecast_score_period CHECK (period_end > period_start),
    CONSTRAINT forecast_score_lead CHECK (lead_start_hours >= 0 AND lead_end_hours > lead_start_hours),
    CONSTRAINT forecast_score_pairs CHECK (pair_count > 0),
    CONSTRAINT forecast_score_coverage CHECK (coverage_90 BETWEEN 0 AND 1),
    CONSTRAINT forecast_score_finite CHECK (mae_kwh < 'Infinity' AND rmse_kwh < 'Infinity' AND pinball_kwh < 'Infinity'
        AND width_90_kwh < 'Infinity' AND mape < 'Infinity' AND skill_naive_168 <= 1 AND r2_score <= 1),
    CONSTRAINT forecast_score_by_hour CHECK (jsonb_typeof(by_hour) = 'array'),
    CONSTRAINT forecast_score_issues CHECK (num_nulls(issued_from, issued_until, issued_every, horizon) IN (0, 4)
        AND issued_until >= issued_from AND issued_every > INTERVAL '0' AND horizon > INTERVAL '0'),
    CONSTRAINT forecast_score_local_issues CHECK (issued_at_local IS NULL OR issued_every IS NOT NULL)
);
COMMENT ON TABLE forecast_scores IS
    'Scores of forecasts against actuals: one row per model version, city, period and lead-time bucket. If its pairs '
    'change, a local month gets a new row; the newest one counts. Append-only';
COMMENT ON CONSTRAINT forecast_score_id ON forecast_scores IS
    'Serves a score by its id; contains the city as every key of a table with a city';
COMMENT ON COLUMN forecast_scores.purpose IS 'Purpose of the scored runs; live runs and later runs are never mixed';
COMMENT ON COLUMN forecast_scores.period_start IS 'First target hour counted';
COMMENT ON COLUMN forecast_scores.period_end IS 'End of the last target hour counted';
COMMENT ON COLUMN forecast_scores.lead_start_hours IS 'Shortest lead time counted, hours';
COMMENT ON COLUMN forecast_scores.lead_end_hours IS 'Longest lead time counted, hours, exclusive';
COMMENT ON COLUMN forecast_scores.pair_count IS 'Pairs of forecast and actual';
COMMENT ON COLUMN forecast_scores.pair_digest IS
    'SHA-256 of the digests of the target hours, each over its pairs and naive-168. A row is added only if it differs '
    'from that of the newest row';
COMMENT ON COLUMN forecast_scores.mape IS 'Percent; hours with an actual of zero are excluded';
COMMENT ON COLUMN forecast_scores.pinball_kwh IS 'Pinball loss, mean over the quantile levels, kWh in an hour';
COMMENT ON COLUMN forecast_scores.coverage_90 IS 'Share of actuals inside the 90 % interval';
COMMENT ON COLUMN forecast_scores.width_90_kwh IS 'Mean width of the 90 % interval, kWh in an hour';
COMMENT ON COLUMN forecast_scores.skill_naive_168 IS
    '1 - MAE / MAE of naive-168, over the pairs with a known load one week before';
COMMENT ON COLUMN forecast_scores.by_hour IS
    'The same scores by weekday type and local hour; forecast_scores_by_hour shows them as rows';
COMMENT ON COLUMN forecast_scores.actuals_as_of IS 'The time as of which the actuals were read';
COMMENT ON COLUMN forecast_scores.issued_from IS 'For a backtest: the first issue time; otherwise null';
COMMENT ON COLUMN forecast_scores.issued_until IS 'For a backtest: the last issue time';
COMMENT ON COLUMN forecast_scores.issued_every IS 'For a backtest: the time between two issues';
COMMENT ON COLUMN forecast_scores.issued_at_local IS
    'For a backtest with --at-local: the local issue time; issued_every then counts local days. Null: issued_every is '
    'a duration';
COMMENT ON COLUMN forecast_scores.horizon IS 'For a backtest: the longest lead time of its runs';
COMMENT ON COLUMN forecast_scores.assumptions IS 'For a backtest: the assumptions of its runs';

CREATE INDEX idx_forecast_scores_city ON forecast_scores (city_id, created_at);
COMMENT ON INDEX idx_forecast_scores_city IS 'Serves the scores of a city, newest first';

CREATE INDEX idx_forecast_scores_newest ON forecast_scores
    (city_id, model_id, purpose, weather, lead_start_hours, lead_end_hours, created_at);
COMMENT ON INDEX idx_forecast_scores_newest IS
    'Serves the newest score of a version, city and lead-time bucket, with which a new one is compared';

/* `score` computes only the hours in this queue. A writer adds its hours in its own transaction, and `score` deletes the
   rows that it has read in the transaction that stores the scores. Without a foreign key, because a row derives from rows
   that have one. */
CREATE TABLE ops.hours_to_score (
    id                BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY,
    city_id           UUID,
    first_hour        TIMESTAMP WITH TIME ZONE,
    last_hour         TIMESTAMP WITH TIME ZONE,
    has_new_forecasts BOOLEAN NOT NULL DEFAULT false,
    known_at          TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT '-infinity',
    CONSTRAINT hours_to_score_range CHECK (num_nulls(first_hour, last_hour) <> 1 AND last_hour >= first_hour
        -- As the partitions of load and vintages; a program cannot read infinity
        AND first_hour >= '1970-01-01 00:00:00+00' AND last_hour < '2200-02-01 00:00:00+00' AND known_at < 'infinity')
);
COMMENT ON TABLE ops.hours_to_score IS
    'Ranges of target hours whose load or forecasts changed since they were scored, one row per city and statement. '
    'Written by triggers, deleted by `score`';
COMMENT ON COLUMN ops.hours_to_score.city_id IS 'Null: every city';
COMMENT ON COLUMN ops.hours_to_score.first_hour IS 'START of the first interval, UTC; null: all hours of the city';
COMMENT ON COLUMN ops.hours_to_score.last_hour IS 'START of the last interval, UTC';
COMMENT ON COLUMN ops.hours_to_score.has_new_forecasts IS
    'Whether forecasts of these hours were added after the hours; otherwise the load changed';
COMMENT ON COLUMN ops.hours_to_score.known_at IS
    'When the last of these values is available; the row is not deleted before';

CREATE INDEX idx_hours_to_score_id ON ops.hours_to_score (id);
COMMENT ON INDEX ops.idx_hours_to_score_id IS 'Serves the deletion of rows that were scored';

-- Every hour of a database that was filled before these tables existed
INSERT INTO ops.hours_to_score DEFAULT VALUES;

CREATE TABLE ops.scored_days (
    city_id       UUID NOT NULL REFERENCES cities (id),
    day           DATE NOT NULL,
    phase_minutes SMALLINT NOT NULL,
    actuals       BYTEA NOT NULL,
    sums          BYTEA,
    CONSTRAINT scored_days_key PRIMARY KEY (city_id, day),
    CONSTRAINT scored_days_actuals CHECK (octet_length(actuals) = 384)
);
COMMENT ON TABLE ops.scored_days IS
    'State of `score`: one row per city and UTC day with forecasts, from which it finds the hours whose actual or '
    'reference changed, and computes a month from its unchanged hours. `score --all` rebuilds it';
COMMENT ON COLUMN ops.scored_days.phase_minutes IS 'The minute past the UTC hour at which the hours begin';
COMMENT ON COLUMN ops.scored_days.actuals IS
    '24 hours of two doubles, little-endian: actual (NaN: unknown, infinity: faulty) and naive-168 (NaN: unknown), kWh';
COMMENT ON COLUMN ops.scored_days.sums IS
    'The sums of the pairs by version, purpose, weather, lead-time bucket and hour; layout in pipelines/score_state.py. '
    'Null in months before the previous one, which are computed from the forecasts again if they change';
-- Random numbers do not compress
ALTER TABLE ops.scored_days ALTER COLUMN sums SET STORAGE EXTERNAL, ALTER COLUMN actuals SET STORAGE PLAIN;
