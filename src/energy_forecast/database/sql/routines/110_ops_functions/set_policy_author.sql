CREATE OR REPLACE FUNCTION ops.set_policy_author() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.changed_at := CURRENT_TIMESTAMP;
    NEW.changed_by := session_user;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION ops.set_policy_author() IS 'Sets the role and time of a policy change, ignoring given values';
