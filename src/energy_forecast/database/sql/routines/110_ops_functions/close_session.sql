/* For the login of the API, which knows the id only from the cookie of the user who signs out. */
CREATE OR REPLACE FUNCTION ops.close_session(digest bytea)
    RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    DELETE FROM ops.sessions WHERE sha256 = digest
$$;
COMMENT ON FUNCTION ops.close_session(bytea) IS 'Ends a session by the SHA-256 of its id';
