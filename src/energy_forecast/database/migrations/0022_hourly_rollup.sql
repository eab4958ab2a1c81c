/* In addition to the materialized view of the schema guide, the same hours in a table that follows the facts. A writer
   records the hours that it changed in its own transaction. These hours are computed from the facts later, and until then by
   each reader. Writers never wait for each other, and readers always get the result of the facts. Neither table has a
   foreign key: their rows derive from energy_consumption, which has one. */
CREATE TABLE hourly_consumption_rollup (
    city_id           UUID NOT NULL,
    hour              TIMESTAMP WITH TIME ZONE NOT NULL,
    total_consumption NUMERIC NOT NULL,
    peak_demand       NUMERIC,
    covered_minutes   INTEGER NOT NULL,
    off_hour_values   INTEGER NOT NULL,
    CONSTRAINT hourly_consumption_rollup_key PRIMARY KEY (city_id, hour)
) WITH (fillfactor = 90);
COMMENT ON TABLE hourly_consumption_rollup IS
    'Consumption of each city by UTC hour over the last 31 days, right but for the hours that ops.changed_consumption names. People read both together, as city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption_rollup.hour IS 'START of the hour, UTC; a value belongs to the hour in which its interval starts';
COMMENT ON COLUMN hourly_consumption_rollup.total_consumption IS 'kWh in the hour';
COMMENT ON COLUMN hourly_consumption_rollup.peak_demand IS 'Highest power in the hour, kW; null where no value says it';
COMMENT ON COLUMN hourly_consumption_rollup.covered_minutes IS 'Minutes of the hour that have a value: 60 is a whole hour, less only a part of one';
COMMENT ON COLUMN hourly_consumption_rollup.off_hour_values IS 'How many values of 60 minutes begin in the hour and not at its start: a city without any has full hours of UTC';

-- Serves: whether a city has hours that begin off the full hour; contains only those cities
CREATE INDEX idx_hourly_rollup_off_hour ON hourly_consumption_rollup (city_id, hour) WHERE off_hour_values > 0;

CREATE TABLE ops.changed_consumption (
    city_id    UUID NOT NULL,
    first_hour TIMESTAMP WITH TIME ZONE NOT NULL,
    last_hour  TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT changed_consumption_order CHECK (last_hour >= first_hour)
);
COMMENT ON TABLE ops.changed_consumption IS
    'Spans of hours that hourly_consumption_rollup does not have yet, a row for each city of a statement. Written by the triggers of energy_consumption, taken away when `maintain refresh` folds them in';
COMMENT ON COLUMN ops.changed_consumption.first_hour IS 'START of the first hour, UTC';
COMMENT ON COLUMN ops.changed_consumption.last_hour IS 'START of the last hour, UTC; infinity: all later ones';

-- Serves: the changes of a city since the last fold
CREATE INDEX idx_changed_consumption_city ON ops.changed_consumption (city_id);

-- The next `maintain refresh` computes the stored hours; until then they are read from the facts
INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
SELECT id, date_trunc('hour', now() - interval '744 hours', 'UTC'), 'infinity' FROM cities;

-- These views showed their age, which they no longer have, and CREATE OR REPLACE cannot remove a column
DROP VIEW IF EXISTS hour_of_day_profile, city_hourly_consumption;
