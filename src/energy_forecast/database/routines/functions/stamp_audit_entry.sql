/* Who, when and in which transaction is not the writer's to say. Runs as the writer, who may execute nothing of the
   platform's: so the expression of acting_role() stands here once more. */
CREATE OR REPLACE FUNCTION stamp_audit_entry() RETURNS trigger
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
COMMENT ON FUNCTION stamp_audit_entry() IS 'Sets who wrote an entry of audit_log and when, whatever was asked';
