/* Beside the guide's materialized view, the same hours in a table that is kept as the facts change. A writer notes which
   hours it changed, in its own transaction; the hours are worked out from the facts later, and until then by whoever
   reads. Writers never wait for one another, and nobody reads anything else than the facts say. Neither table has a
   foreign key: their rows follow from energy_consumption, which has one. */
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

-- Serves: whether a city has hours that begin off the full hour; empty but for those cities
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

-- Serves: what has changed of a city since it was folded in
CREATE INDEX idx_changed_consumption_city ON ops.changed_consumption (city_id);

-- What is stored already is worked out by the next `maintain refresh`, and read from the facts until then
INSERT INTO ops.changed_consumption (city_id, first_hour, last_hour)
SELECT id, date_trunc('hour', now() - interval '744 hours', 'UTC'), 'infinity' FROM cities;

-- They told how stale they were; they are not any more, and a column cannot be replaced away
DROP VIEW IF EXISTS hour_of_day_profile, city_hourly_consumption;
