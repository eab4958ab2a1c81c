CREATE OR REPLACE FUNCTION keep_weather_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF NEW.city_id <> OLD.city_id OR NEW.timestamp <> OLD.timestamp THEN
        RAISE EXCEPTION 'The city and timestamp of a value never change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.available_at < OLD.available_at THEN
        RAISE EXCEPTION 'A value known at % cannot replace one known at %', NEW.available_at, OLD.available_at
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    -- Of this very transaction: nobody else ever saw the value
    IF OLD.created_at <> CURRENT_TIMESTAMP THEN
        INSERT INTO public.weather_data_revisions
            (city_id, timestamp, temperature, humidity, wind_speed, precipitation, created_at, available_at,
             interval_minutes)
        VALUES
            (OLD.city_id, OLD.timestamp, OLD.temperature, OLD.humidity, OLD.wind_speed, OLD.precipitation, OLD.created_at,
             OLD.available_at, OLD.interval_minutes);
    END IF;
    NEW.created_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION keep_weather_revision() IS
    'Keeps the old value of a corrected row of weather_data, whoever corrects it';
