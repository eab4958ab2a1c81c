/* BEFORE each row of a correction. archive_consumption_revision() and archive_weather_revision() store the old values in bulk
   after the statement. */
CREATE OR REPLACE FUNCTION correct_value() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NEW.city_id <> OLD.city_id OR NEW.timestamp <> OLD.timestamp THEN
        RAISE EXCEPTION 'The city and timestamp of a value cannot change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.available_at < OLD.available_at THEN
        RAISE EXCEPTION 'A value available at % cannot replace one available at %', NEW.available_at, OLD.available_at
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.created_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION correct_value() IS
    'Sets created_at of a corrected value, and rejects a change of its city or time, or a value that was available earlier';
