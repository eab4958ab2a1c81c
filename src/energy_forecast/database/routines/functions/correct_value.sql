/* Before each row of a correction; its old value is kept after the statement, in bulk, by keep_consumption_revision() and
   keep_weather_revision(). */
CREATE OR REPLACE FUNCTION correct_value() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NEW.city_id <> OLD.city_id OR NEW.timestamp <> OLD.timestamp THEN
        RAISE EXCEPTION 'The city and timestamp of a value never change' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.available_at < OLD.available_at THEN
        RAISE EXCEPTION 'A value known at % cannot replace one known at %', NEW.available_at, OLD.available_at
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.created_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION correct_value() IS
    'Sets created_at of a corrected value, and refuses a correction of its city or time, or by a value known earlier';
