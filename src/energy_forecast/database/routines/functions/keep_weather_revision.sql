-- AFTER a statement that corrected values: an INSERT a row was two thirds of what a correction took
CREATE OR REPLACE FUNCTION keep_weather_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO public.weather_data_revisions
        (city_id, timestamp, temperature, humidity, wind_speed, precipitation, created_at, available_at, interval_minutes)
    SELECT o.city_id, o.timestamp, o.temperature, o.humidity, o.wind_speed,
           o.precipitation, o.created_at, o.available_at, o.interval_minutes
    FROM corrected o
    -- Of this very transaction: nobody else ever saw the value
    WHERE o.created_at <> CURRENT_TIMESTAMP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_weather_revision() IS
    'Keeps the old values of corrected rows of weather_data, whoever corrects them';
