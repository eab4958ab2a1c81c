/* In a SECURITY DEFINER function current_user is the function's owner. Who asked is the role that the session has taken
   by SET ROLE, or else the login; a session can take no role that it is not a member of.
   Not in SQL: a session would plan it anew in every statement. */
CREATE OR REPLACE FUNCTION acting_role() RETURNS name
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN RETURN coalesce(nullif(current_setting('role'), 'none'), session_user)::name; END $$;
COMMENT ON FUNCTION acting_role() IS 'Who asked, also inside a SECURITY DEFINER function';
