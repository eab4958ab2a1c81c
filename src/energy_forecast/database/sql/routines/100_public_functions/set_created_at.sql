CREATE OR REPLACE FUNCTION set_created_at() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.created_at := CURRENT_TIMESTAMP;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION set_created_at() IS 'Sets created_at of a replaced row';
