/* Called over a connection of the user's own login, so PostgreSQL has verified their password. The login of the API may take
   the role of a user but is not their session, so it cannot open a session for them in this way. Old sessions are deleted
   here, so no other task has to. */
CREATE OR REPLACE FUNCTION ops.open_session(digest bytea)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
        WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname = session_user) THEN
        RAISE EXCEPTION 'the login % is not a user', session_user USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM ops.sessions WHERE expires_at < now();
    INSERT INTO ops.sessions (sha256, user_name) VALUES (digest, session_user);
END $$;
COMMENT ON FUNCTION ops.open_session(bytea) IS
    'Opens a session of the pages for the user who is logged in to PostgreSQL. The argument is the SHA-256 of its id';
