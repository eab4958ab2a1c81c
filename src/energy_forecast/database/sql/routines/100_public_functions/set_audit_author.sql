/* The writer cannot choose the role, the time and the transaction. The trigger runs as the writer, who may not execute
   functions of the platform, so it repeats the expression of acting_role(). */
CREATE OR REPLACE FUNCTION set_audit_author() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    NEW.user_name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    NEW.session_user_name := session_user;
    NEW.timestamp := CURRENT_TIMESTAMP;
    NEW.transaction_id := pg_current_xact_id();
    RETURN NEW;
END $$;
COMMENT ON FUNCTION set_audit_author() IS 'Sets the role and time of an entry of audit_log, ignoring given values';
