/* In a separate function, because pg_restore fills materialized views with row_security off: a query restricted by a
   policy then fails, and policies apply to the owner. Buckets by UTC in every session zone; the first hour is complete. */
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
    'Consumption of each city by UTC hour over the last 30 days, from the facts: what hourly_consumption keeps';

-- After an upgrade with data the view is empty until the first refresh; ops.view_refreshes has no row until then
CREATE MATERIALIZED VIEW hourly_consumption AS
SELECT city_id, hour, total_consumption, peak_demand, covered_minutes FROM ops.consumption_by_hour()
WITH DATA;
COMMENT ON MATERIALIZED VIEW hourly_consumption IS
    'Consumption of each city by UTC hour over the last 30 days, as of the last refresh. It knows no row-level security: people read city_hourly_consumption';
COMMENT ON COLUMN hourly_consumption.hour IS 'START of the hour, UTC; a value belongs to the hour in which its interval starts';
COMMENT ON COLUMN hourly_consumption.total_consumption IS 'kWh in the hour';
COMMENT ON COLUMN hourly_consumption.peak_demand IS 'Highest power in the hour, kW; null where no value says it';
COMMENT ON COLUMN hourly_consumption.covered_minutes IS 'Minutes of the hour that have a value: 60 is a whole hour, less only a part of one';

-- REFRESH CONCURRENTLY requires a full unique index. Serves: the hours of a city
CREATE UNIQUE INDEX hourly_consumption_city_hour ON hourly_consumption (city_id, hour);
-- Serves: consumption_at_utc_hour(), all cities at one hour of the UTC day
CREATE INDEX idx_hour_of_day ON hourly_consumption (extract(hour FROM hour AT TIME ZONE 'UTC'));

/* The predicate of the schema guide, timestamp >= now() - interval '24 hours', changes over time, which an index cannot. */
-- Serves: the forecasts of the present and coming hours over all cities
CREATE INDEX idx_active_predictions ON predictions (timestamp);

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
    'One row a refresh of a materialized view, written in its transaction: the latest says how stale the view is. Append-only';
COMMENT ON COLUMN ops.view_refreshes.refreshed_at IS 'When the refresh began; what was recorded later is not in the view';
COMMENT ON COLUMN ops.view_refreshes.data_until IS 'End of the last hour that has any value; null when there is none';
