/* In a SECURITY DEFINER function current_user is the function's owner. The acting role is the role that the session took
   by SET ROLE, otherwise the login; a session can only take roles that it is a member of.
   Not in SQL, because a session would plan it again in every statement. */
CREATE OR REPLACE FUNCTION acting_role() RETURNS name
    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
    SET search_path = pg_catalog, pg_temp
    AS $$ BEGIN RETURN coalesce(nullif(current_setting('role'), 'none'), session_user)::name; END $$;
COMMENT ON FUNCTION acting_role() IS 'The role of the session, also inside a SECURITY DEFINER function';
