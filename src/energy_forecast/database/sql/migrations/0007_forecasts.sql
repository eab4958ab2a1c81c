-- Runs, the forecasts that they issued, and the current forecast

CREATE FUNCTION is_ascending(numbers double precision[]) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog
    AS $$
DECLARE
    number double precision;
    previous double precision := '-Infinity';
BEGIN
    FOREACH number IN ARRAY numbers LOOP
        -- NaN sorts above Infinity, so this refuses NaN, NULL and Infinity as well
        IF (number > previous AND number < 'Infinity') IS NOT TRUE THEN
            RETURN false;
        END IF;
        previous := number;
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION is_ascending(double precision[]) IS 'Whether numbers are finite, different and in ascending order';

CREATE FUNCTION are_assumptions(stored jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog
    AS $$
    -- A value of another type makes a comparison of jsonpath unknown
    SELECT CASE
        WHEN stored = '{}' THEN true
        WHEN (stored @@ 'strict $.load_delay_minutes >= 0 && $.load_delay_minutes <= 5256000
                         && $.load_delay_source.type() == "string"') IS NOT TRUE THEN false
        WHEN NOT stored ? 'weather_errors' THEN true
        WHEN (stored @@ 'strict $.weather_errors.source.type() == "string" && $.weather_errors.seed >= 0
                         && $.weather_errors.seed.floor() == $.weather_errors.seed
                         && $.weather_errors.lead_hours.size() > 0 && $.weather_errors.temperature.size() > 0') IS NOT TRUE
            THEN false
        ELSE NOT EXISTS (
            SELECT FROM jsonb_each(stored -> 'weather_errors') AS e
            WHERE e.key NOT IN ('source', 'seed') AND (
                e.key IN ('lead_hours', 'temperature', 'humidity', 'wind_speed', 'precipitation')
                AND jsonb_path_query_first(e.value, 'strict $.size()', silent => true)
                    = jsonb_path_query_first(stored, 'strict $.weather_errors.lead_hours.size()', silent => true)
                AND NOT e.value @? 'strict $[*] ? (@.type() != "number")') IS NOT TRUE)
    END
$$;
COMMENT ON FUNCTION are_assumptions(jsonb) IS
    'Whether a document has the form of forecast_runs.assumptions; another form would end every report that reads it';

CREATE TABLE forecast_runs (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    model_id        UUID NOT NULL REFERENCES models (id),
    purpose         TEXT NOT NULL,
    issued_at       TIMESTAMP WITH TIME ZONE NOT NULL,
    horizon         INTERVAL NOT NULL,
    weather         TEXT NOT NULL,
    interval_minutes SMALLINT NOT NULL DEFAULT 60,
    quantile_levels DOUBLE PRECISION[] NOT NULL,
    quantile_count  SMALLINT GENERATED ALWAYS AS (cardinality(quantile_levels)) STORED,
    status          TEXT NOT NULL,
    notes           JSONB NOT NULL DEFAULT '{}',
    fallback_levels JSONB NOT NULL DEFAULT '{}',
    assumptions     JSONB NOT NULL DEFAULT '{}',
    started_at      TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT forecast_run_purpose CHECK (purpose IN ('live', 'replay', 'backtest')),
    CONSTRAINT forecast_run_in_time CHECK (purpose <> 'live' OR created_at - issued_at <= interval '3 hours'),
    CONSTRAINT forecast_run_weather CHECK (weather IN ('actual', 'simulated', 'forecast', 'none')),
    CONSTRAINT forecast_run_weather_known CHECK (weather NOT IN ('actual', 'simulated') OR purpose = 'backtest'),
    CONSTRAINT forecast_run_assumptions CHECK (
        (purpose = 'backtest' OR assumptions = '{}') AND (weather = 'simulated') = (assumptions ? 'weather_errors')),
    CONSTRAINT forecast_run_assumptions_form CHECK (are_assumptions(assumptions)),
    CONSTRAINT forecast_run_status CHECK (status IN ('succeeded', 'partial', 'failed')),
    CONSTRAINT forecast_run_horizon CHECK (horizon > interval '0' AND horizon <= interval '168 hours'),
    CONSTRAINT forecast_run_levels CHECK (
        is_ascending(quantile_levels) AND array_ndims(quantile_levels) = 1
        -- The upper bound limits a vintage to a few MB
        AND cardinality(quantile_levels) BETWEEN 1 AND 999
        -- '[0:1]={0.1,0.9}' is a valid array whose [1] is not the first element
        AND array_lower(quantile_levels, 1) = 1
        AND quantile_levels[1] > 0 AND quantile_levels[cardinality(quantile_levels)] < 1),
    CONSTRAINT forecast_run_order CHECK (finished_at >= started_at),
    CONSTRAINT forecast_run_not_ahead CHECK (issued_at <= created_at),
    CONSTRAINT forecast_run_vintage UNIQUE (id, model_id, issued_at, interval_minutes, quantile_count),
    CONSTRAINT forecast_run_interval CHECK (interval_minutes >= 5 AND interval_minutes <= 60 AND 60 % interval_minutes = 0)
);
COMMENT ON TABLE forecast_runs IS
    'One execution of one model version. All data that it used had available_at (weather forecasts: issued_at) up to '
    'issued_at. Append-only';
COMMENT ON COLUMN forecast_runs.purpose IS
    'live: issued at issued_at. replay: one forecast issued later with only the data known then. backtest: many such '
    'forecasts. created_at is always the real time of execution';
COMMENT ON COLUMN forecast_runs.horizon IS 'The longest lead time requested';
COMMENT ON COLUMN forecast_runs.weather IS
    'The weather used for the target hours: a weather forecast, none, or (backtests only) the observed weather, with '
    '(simulated) or without (actual) simulated errors of a weather forecast';
COMMENT ON COLUMN forecast_runs.interval_minutes IS 'Resolution: length of the forecast intervals, a divisor of 60 minutes';
COMMENT ON COLUMN forecast_runs.quantile_levels IS
    'Levels of the quantiles in prediction_vintages, ascending, between 0 and 1';
COMMENT ON COLUMN forecast_runs.status IS 'partial: some cities could not be forecast; notes has the reasons';
COMMENT ON COLUMN forecast_runs.notes IS 'By city: missing data, and their replacement';
COMMENT ON COLUMN forecast_runs.fallback_levels IS
    'By city: the fallback level of its forecast (0 is the preferred model), the age of the last known load in hours, '
    'and the reason for the level. Empty for backtests';
COMMENT ON COLUMN forecast_runs.assumptions IS
    'For a backtest. load_delay_minutes: load is known if its interval ended at least so long before the issue, and by its '
    'available_at; load_delay_source: option, city, stated (by available_at), measured or assumed. weather_errors has the errors of '
    'simulated weather forecasts: source, seed, lead_hours and by weather column the root mean square error at each lead '
    'time';
COMMENT ON CONSTRAINT forecast_run_in_time ON forecast_runs IS
    'A forecast recorded long after its issue time could not be used then';
COMMENT ON CONSTRAINT forecast_run_weather_known ON forecast_runs IS
    'Observed weather of the target hours is in the future at the issue; only a backtest may use it, and declares it';

CREATE INDEX idx_forecast_runs_model ON forecast_runs (model_id, issued_at);
COMMENT ON INDEX idx_forecast_runs_model IS 'Serves the runs of one model version, newest first';

CREATE FUNCTION quantiles_ascend(quantiles real[], quantile_count integer) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog
    AS $$
DECLARE
    quantile real;
    previous real := 0;
    place integer := 0;
BEGIN
    -- NaN sorts above every number, so this refuses NaN, NULL and Infinity as well
    IF (0 <= ALL (quantiles) AND real '1e10' > ALL (quantiles)) IS NOT TRUE THEN
        RETURN false;
    END IF;
    FOREACH quantile IN ARRAY quantiles LOOP
        IF quantile < previous AND place % quantile_count <> 0 THEN
            RETURN false;
        END IF;
        previous := quantile;
        place := place + 1;
    END LOOP;
    RETURN true;
END $$;
COMMENT ON FUNCTION quantiles_ascend(real[], integer) IS
    'Whether quantiles are energies that the tables can store, and ascend within each interval of `quantile_count` values';

CREATE TABLE prediction_vintages (
    run_id                UUID NOT NULL,
    city_id               UUID NOT NULL REFERENCES cities (id),
    model_id              UUID NOT NULL,
    issued_at             TIMESTAMP WITH TIME ZONE NOT NULL,
    first_timestamp       TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at            TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    interval_minutes      SMALLINT NOT NULL,
    quantile_count        SMALLINT NOT NULL,
    predicted_consumption DOUBLE PRECISION[] NOT NULL,
    quantiles             REAL[] NOT NULL,
    CONSTRAINT prediction_vintage_key PRIMARY KEY (city_id, issued_at, run_id),
    CONSTRAINT prediction_vintage_run FOREIGN KEY (run_id, model_id, issued_at, interval_minutes, quantile_count)
        REFERENCES forecast_runs (id, model_id, issued_at, interval_minutes, quantile_count),
    CONSTRAINT prediction_vintage_after_issue CHECK (first_timestamp >= issued_at),
    CONSTRAINT prediction_vintage_horizon CHECK (last_timestamp - issued_at <= interval '168 hours'),
    CONSTRAINT prediction_vintage_intervals CHECK (cardinality(predicted_consumption) > 0 AND
        extract(EPOCH FROM last_timestamp - first_timestamp) = (cardinality(predicted_consumption) - 1) * interval_minutes * 60),
    CONSTRAINT prediction_vintage_value CHECK (
        (0 <= ALL (predicted_consumption) AND 9999999999.99 >= ALL (predicted_consumption)) IS TRUE),
    CONSTRAINT prediction_vintage_levels CHECK (
        cardinality(quantiles) = cardinality(predicted_consumption) * quantile_count
        -- '[0:1]={0.1,0.9}' is a valid array whose [1] is not the first element
        AND array_ndims(quantiles) = 1 AND array_lower(quantiles, 1) = 1
        AND array_ndims(predicted_consumption) = 1 AND array_lower(predicted_consumption, 1) = 1),
    CONSTRAINT prediction_vintage_order CHECK (quantiles_ascend(quantiles, quantile_count))
) PARTITION BY RANGE (issued_at);
-- Not compressed: the bytes of numbers hardly compress, and trying costs more than writing them
ALTER TABLE prediction_vintages ALTER COLUMN quantiles SET STORAGE EXTERNAL;
COMMENT ON TABLE prediction_vintages IS
    'Every issued forecast with its quantiles: one row per run and city, with the values of all its intervals in order. '
    'vintage_values shows one row per value. Append-only. One partition per UTC month of issued_at';
COMMENT ON COLUMN prediction_vintages.first_timestamp IS 'START of the first interval, UTC; never before issued_at';
COMMENT ON COLUMN prediction_vintages.last_timestamp IS 'START of the last interval, UTC';
COMMENT ON COLUMN prediction_vintages.interval_minutes IS 'Resolution of the run; the intervals follow each other without a gap';
COMMENT ON COLUMN prediction_vintages.predicted_consumption IS 'kWh in each interval, hundredths';
COMMENT ON COLUMN prediction_vintages.quantiles IS
    'kWh in the interval at the levels of the run, ascending: all levels of the first interval, then of the second. Single '
    'precision, 7 digits';
COMMENT ON CONSTRAINT prediction_vintage_horizon ON prediction_vintages IS
    'The longest horizon of a run: a reader of an interval need not look further back';

CREATE INDEX idx_prediction_vintages_run ON prediction_vintages (run_id);
COMMENT ON INDEX idx_prediction_vintages_run IS 'Serves the forecasts of one run';

CREATE TABLE predictions (
    id                    UUID NOT NULL DEFAULT gen_random_uuid(),
    city_id               UUID NOT NULL REFERENCES cities (id),
    model_id              UUID NOT NULL REFERENCES models (id),
    timestamp             TIMESTAMP WITH TIME ZONE NOT NULL,
    predicted_consumption DECIMAL(12,2) NOT NULL,
    confidence_lower      DECIMAL(12,2),
    confidence_upper      DECIMAL(12,2),
    features_used         JSONB DEFAULT '{}',
    created_at            TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    confidence_level      DECIMAL(4,3),
    run_id                UUID NOT NULL,
    issued_at             TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT prediction_city_model_time UNIQUE (city_id, model_id, timestamp),
    CONSTRAINT prediction_value_range CHECK (predicted_consumption >= 0 AND predicted_consumption < 'Infinity'),
    CONSTRAINT prediction_bounds_order CHECK (confidence_lower <= confidence_upper AND confidence_lower >= 0
        AND confidence_upper < 'Infinity'),
    CONSTRAINT prediction_bounds_level CHECK (
        (confidence_lower IS NULL) = (confidence_upper IS NULL)
        AND (confidence_lower IS NULL) = (confidence_level IS NULL)
        AND confidence_level > 0 AND confidence_level < 1),
    CONSTRAINT prediction_after_issue CHECK (timestamp >= issued_at)
) PARTITION BY LIST (city_id);
COMMENT ON TABLE predictions IS
    'The CURRENT forecast: one row per city, model version and interval, from the latest issue of a live run or replay. '
    'The database writes it from prediction_vintages, which has every issue';
COMMENT ON COLUMN predictions.timestamp IS 'START of the target interval, UTC';
COMMENT ON COLUMN predictions.predicted_consumption IS 'kWh in the interval';
COMMENT ON COLUMN predictions.confidence_lower IS 'Lowest quantile of the vintage, kWh; null if the outermost levels are not symmetric, or confidence_level would be 0 or 1';
COMMENT ON COLUMN predictions.confidence_upper IS 'Highest quantile of the vintage, kWh';
COMMENT ON COLUMN predictions.features_used IS
    'Empty: `forecast explain` computes the features again from the facts that were known at the issue';
COMMENT ON COLUMN predictions.run_id IS 'The run of the vintage, whose foreign key refers to forecast_runs';
COMMENT ON COLUMN predictions.confidence_level IS 'Nominal coverage of the interval between the bounds, e.g. 0.9';

CREATE INDEX idx_predictions_city_time ON predictions (city_id, timestamp);
COMMENT ON INDEX idx_predictions_city_time IS 'Serves the forecasts of a city in a time range, all models';

CREATE INDEX idx_predictions_model ON predictions (model_id);
COMMENT ON INDEX idx_predictions_model IS 'Serves the forecasts of one model version';

CREATE INDEX idx_predictions_time ON predictions USING BRIN (timestamp);
COMMENT ON INDEX idx_predictions_time IS 'Serves retention by time over all cities';

-- The predicate timestamp >= now() - interval '24 hours' changes over time, which a partial index cannot
CREATE INDEX idx_active_predictions ON predictions (timestamp);
COMMENT ON INDEX idx_active_predictions IS 'Serves the forecasts of the present and coming hours over all cities';

/* At 5,000 cities, one partition per city made a write for all cities 10 times slower and a read 36 times. Cities share
   this partition until one is moved to its own. Each issue updates nearly every row of the coming hours: in half-filled pages
   the new version has room next to the old one, and no index changes (HOT). The next update removes the old version, so that
   autovacuum need not. */
CREATE TABLE predictions_shared PARTITION OF predictions DEFAULT WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 2);
