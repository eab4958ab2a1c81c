-- Observed load, and the values that corrections replaced

CREATE TABLE energy_consumption (
    id               UUID NOT NULL DEFAULT gen_random_uuid(),
    city_id          UUID NOT NULL REFERENCES cities (id),
    timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    consumption_kwh  DECIMAL(12,2) NOT NULL,
    peak_demand_kw   DECIMAL(12,2),
    metadata         JSONB DEFAULT '{}',
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    available_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_minutes SMALLINT NOT NULL DEFAULT 60,
    CONSTRAINT consumption_city_timestamp PRIMARY KEY (city_id, timestamp),
    CONSTRAINT consumption_kwh_range CHECK (consumption_kwh >= 0 AND consumption_kwh < 'Infinity'),
    CONSTRAINT consumption_peak_range CHECK (peak_demand_kw >= 0 AND peak_demand_kw < 'Infinity'),
    CONSTRAINT consumption_interval_range CHECK (
        interval_minutes >= 1 AND interval_minutes <= 60 AND 60 % interval_minutes = 0),
    CONSTRAINT consumption_available_after_end CHECK (
        available_at - timestamp >= make_interval(mins => interval_minutes) AND available_at < 'infinity')
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE energy_consumption IS
    'Consumption of a city in one interval, as known now. A correction overwrites the value here and stores the old '
    'one in energy_consumption_revisions; no value is lost. One partition per UTC month';
COMMENT ON COLUMN energy_consumption.id IS 'Identifier of the row; not indexed, the key is city and timestamp';
COMMENT ON COLUMN energy_consumption.timestamp IS 'START of the interval, UTC';
COMMENT ON COLUMN energy_consumption.consumption_kwh IS 'kWh in the interval';
COMMENT ON COLUMN energy_consumption.peak_demand_kw IS 'Highest power in the interval, kW';
COMMENT ON COLUMN energy_consumption.created_at IS
    'When this database recorded the value; equals created_at of its row in ops.ingest_batches';
COMMENT ON COLUMN energy_consumption.available_at IS
    'When the value could first be known, according to its source; never before the end of the interval';
COMMENT ON COLUMN energy_consumption.interval_minutes IS
    'Length of the interval, a divisor of 60; it distinguishes complete from incomplete hours';
COMMENT ON CONSTRAINT consumption_kwh_range ON energy_consumption IS
    'NaN satisfies >= 0 but not < Infinity';
COMMENT ON CONSTRAINT consumption_available_after_end ON energy_consumption IS
    'A value cannot be known before its interval has ended';

CREATE INDEX idx_consumption_time ON energy_consumption USING BRIN (timestamp);
COMMENT ON INDEX idx_consumption_time IS 'Serves rows of all cities recorded in a time range; a few kB per month';

CREATE TABLE energy_consumption_revisions (
    city_id          UUID NOT NULL REFERENCES cities (id),
    timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    consumption_kwh  DECIMAL(12,2) NOT NULL,
    peak_demand_kw   DECIMAL(12,2),
    metadata         JSONB,
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    available_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_minutes SMALLINT NOT NULL,
    superseded_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT consumption_revision_key PRIMARY KEY (city_id, timestamp, available_at, created_at),
    CONSTRAINT consumption_revision_kwh_range CHECK (consumption_kwh >= 0 AND consumption_kwh < 'Infinity'),
    CONSTRAINT consumption_revision_peak_range CHECK (peak_demand_kw >= 0 AND peak_demand_kw < 'Infinity'),
    CONSTRAINT consumption_revision_interval_range CHECK (
        interval_minutes >= 1 AND interval_minutes <= 60 AND 60 % interval_minutes = 0),
    CONSTRAINT consumption_revision_available_after_end CHECK (
        available_at - timestamp >= make_interval(mins => interval_minutes) AND available_at < 'infinity')
);
COMMENT ON TABLE energy_consumption_revisions IS
    'Versions of energy_consumption that are not current: values replaced by a correction, and older values that '
    'arrived after newer ones. Append-only';
COMMENT ON COLUMN energy_consumption_revisions.created_at IS 'When this database recorded the old value';
COMMENT ON COLUMN energy_consumption_revisions.superseded_at IS
    'When this database stopped showing the value as current, or recorded it as an older version';
