-- Load by UTC hour: the materialized view, and the roll-up that follows each change

/* In a separate function, because pg_restore fills materialized views with row_security off: a query restricted by a
   policy then fails, and policies apply to the owner. Buckets by UTC in every session zone; the first hour is
   complete. */
CREATE FUNCTION ops.consumption_by_hour()
    RETURNS TABLE (city_id uuid, hour timestamptz, total_consumption numeric, peak_demand numeric,
                   covered_minutes integer)
    LANGUAGE sql STABLE ROWS 100000
    SET search_path = pg_catalog, public, pg_temp
    SET row_security = on
    AS $$
    SELECT c.city_id, date_trunc('hour', c.timestamp, 'UTC'), sum(c.consumption_kwh), max(c.peak_demand_kw),
           sum(c.interval_minutes)::integer
    FROM public.energy_consumption c
    WHERE c.timestamp >= date_trunc('hour', now() - interval '30 days', 'UTC')
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION ops.consumption_by_hour() IS
    'Consumption of each city by UTC hour over the last 30 days, from the facts: the definition of hourly_consumption';

-- After an upgrade with data the view is empty until the first refresh; ops.view_refreshes has no row until then
CREATE MATERIALIZED VIEW hourly_consumption AS
SELECT city_id, hour, total_consumption, peak_demand, covered_minutes FROM ops.consumption_by_hour()
WITH DATA;
COMMENT ON MATERIALIZED VIEW hourly_consumption IS
    'Consumption of each city by UTC hour over the last 30 days, as of the last refresh. It has no row-level security: '
    'users read city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption.hour IS
    'START of the hour, UTC; a value belongs to the hour in which its interval starts';
COMMENT ON COLUMN hourly_consumption.total_consumption IS 'kWh in the hour';
COMMENT ON COLUMN hourly_consumption.peak_demand IS 'Highest power in the hour, kW; null if no value has it';
COMMENT ON COLUMN hourly_consumption.covered_minutes IS 'Minutes of the hour with a value: 60 is a complete hour';

-- REFRESH CONCURRENTLY requires a full unique index.
CREATE UNIQUE INDEX hourly_consumption_city_hour ON hourly_consumption (city_id, hour);
COMMENT ON INDEX hourly_consumption_city_hour IS 'Serves the hours of a city';

CREATE INDEX idx_hour_of_day ON hourly_consumption (extract(hour FROM hour AT TIME ZONE 'UTC'));
COMMENT ON INDEX idx_hour_of_day IS 'Serves consumption_at_utc_hour(), all cities at one hour of the UTC day';

CREATE TABLE ops.view_refreshes (
    view_name    TEXT NOT NULL,
    refreshed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    data_until   TIMESTAMP WITH TIME ZONE,
    row_count    BIGINT NOT NULL,
    refreshed_by NAME NOT NULL DEFAULT session_user,
    CONSTRAINT view_refresh_key PRIMARY KEY (view_name, refreshed_at),
    CONSTRAINT view_refresh_order CHECK (finished_at >= refreshed_at)
);
COMMENT ON TABLE ops.view_refreshes IS
    'One row per refresh of a materialized view, written in its transaction; the latest row shows the age of the view. '
    'Append-only';
COMMENT ON COLUMN ops.view_refreshes.refreshed_at IS
    'Start of the refresh; the view does not contain values recorded later';
COMMENT ON COLUMN ops.view_refreshes.data_until IS 'End of the last hour with a value; null without values';

/* In addition to the materialized view above, the same hours in a table that follows the facts. A
   writer records the hours that it changed in its own transaction. These hours are computed from the facts later,
   and until then by each reader. Writers never wait for each other, and readers always get the result of the facts.
   Neither table has a foreign key: their rows derive from energy_consumption, which has one. */
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
    'Consumption of each city by UTC hour over the last 31 days, current except for the hours in '
    'ops.changed_consumption. Users read both combined, as city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption_rollup.hour IS
    'START of the hour, UTC; a value belongs to the hour in which its interval starts';
COMMENT ON COLUMN hourly_consumption_rollup.total_consumption IS 'kWh in the hour';
COMMENT ON COLUMN hourly_consumption_rollup.peak_demand IS 'Highest power in the hour, kW; null if no value has it';
COMMENT ON COLUMN hourly_consumption_rollup.covered_minutes IS
    'Minutes of the hour with a value: 60 is a complete hour';
COMMENT ON COLUMN hourly_consumption_rollup.off_hour_values IS
    'Number of 60-minute values that begin in the hour but not at its start; a city without any has full UTC hours';

CREATE INDEX idx_hourly_rollup_off_hour ON hourly_consumption_rollup (city_id, hour) WHERE off_hour_values > 0;
COMMENT ON INDEX idx_hourly_rollup_off_hour IS
    'Serves whether a city has hours that begin off the full hour; contains only those cities';

CREATE TABLE ops.changed_consumption (
    city_id    UUID NOT NULL,
    first_hour TIMESTAMP WITH TIME ZONE NOT NULL,
    last_hour  TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT changed_consumption_order CHECK (last_hour >= first_hour)
);
COMMENT ON TABLE ops.changed_consumption IS
    'Ranges of hours that hourly_consumption_rollup does not contain yet, one row per city and statement. Written by '
    'triggers of energy_consumption, deleted when `maintain refresh` adds them';
COMMENT ON COLUMN ops.changed_consumption.first_hour IS 'START of the first hour, UTC';
COMMENT ON COLUMN ops.changed_consumption.last_hour IS 'START of the last hour, UTC; infinity: all later hours';

CREATE INDEX idx_changed_consumption_city ON ops.changed_consumption (city_id);
COMMENT ON INDEX ops.idx_changed_consumption_city IS 'Serves the changes of a city since the last refresh';
