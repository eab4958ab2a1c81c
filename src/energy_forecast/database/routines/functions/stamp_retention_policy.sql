CREATE OR REPLACE FUNCTION ops.stamp_retention_policy() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.changed_at := CURRENT_TIMESTAMP;
    NEW.changed_by := session_user;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION ops.stamp_retention_policy() IS 'Sets the role and time of a policy change, ignoring given values';
