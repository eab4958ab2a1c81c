CREATE TABLE ops.quality_flags (
    city_id         UUID NOT NULL REFERENCES cities (id),
    series          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    first_timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
    last_timestamp  TIMESTAMP WITH TIME ZONE NOT NULL,
    hours           INTEGER NOT NULL,
    factor          DOUBLE PRECISION,
    left_out        BOOLEAN NOT NULL,
    batch_id        UUID NOT NULL REFERENCES ops.ingest_batches (id),
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT quality_flag_key PRIMARY KEY (city_id, series, kind, first_timestamp),
    CONSTRAINT quality_flag_series CHECK (series IN ('consumption', 'weather')),
    CONSTRAINT quality_flag_kind CHECK (kind IN (
        'gap',   -- no value, or not all intervals of an hour
        'zero',  -- not positive, although the expected load is
        'spike', -- far above the same hour of the days before, or the neighbouring hours
        'dip',   -- far below them
        'stuck', -- a repeated value
        'unit',  -- about a thousand times the expected value, or a thousandth
        'level'  -- a lasting change of the level; the hours remain in use
    )),
    CONSTRAINT quality_flag_span CHECK (last_timestamp >= first_timestamp AND hours > 0)
);
COMMENT ON TABLE ops.quality_flags IS
    'What the check after a load found wrong with a city, for people: runs of hours. A check writes the flags of the span that its load touched anew. Training and scores do not read them: they judge again what was known at their moment';
COMMENT ON COLUMN ops.quality_flags.first_timestamp IS 'START of the first hour, UTC';
COMMENT ON COLUMN ops.quality_flags.last_timestamp IS 'START of the last hour, UTC';
COMMENT ON COLUMN ops.quality_flags.hours IS 'How many hours; of a level 1, since it goes on';
COMMENT ON COLUMN ops.quality_flags.factor IS 'How many times the usual, for unit and level';
COMMENT ON COLUMN ops.quality_flags.left_out IS 'Whether training and scores leave the hours out; the values stay as they are';
COMMENT ON COLUMN ops.quality_flags.batch_id IS 'The load after which it was found';

ALTER TABLE forecast_runs ADD COLUMN fallback_levels JSONB NOT NULL DEFAULT '{}';
COMMENT ON COLUMN forecast_runs.fallback_levels IS
    'By city: the rung of the ladder on which its forecast stands (level 0 is the top), how many hours old the last known load was, and why it is no higher. Empty for backtests';
