-- AFTER a statement that corrected values: one INSERT per row took two thirds of the time of a correction
CREATE OR REPLACE FUNCTION archive_weather_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE of a new row is also an UPDATE, of no row
    IF NOT EXISTS (SELECT FROM corrected) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.weather_data_revisions
        (city_id, timestamp, temperature, humidity, wind_speed, precipitation, created_at, available_at, interval_minutes)
    SELECT o.city_id, o.timestamp, o.temperature, o.humidity, o.wind_speed,
           o.precipitation, o.created_at, o.available_at, o.interval_minutes
    FROM corrected o
    -- No other transaction saw a value that was recorded by this one
    WHERE o.created_at <> CURRENT_TIMESTAMP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION archive_weather_revision() IS
    'Stores the old values of corrected rows of weather_data, for every role';
