CREATE OR REPLACE FUNCTION record_moved_city() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO ops.hours_to_score (city_id) VALUES (NEW.id);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION record_moved_city() IS
    'Records all hours of a city in ops.hours_to_score, for a city whose local time or holidays changed';
