/* For the login of the API, which cannot read the tables. The key must be valid and have the scope read. */
CREATE OR REPLACE FUNCTION ops.open_session_with_key(key_digest bytea, digest bytea)
    RETURNS TABLE (user_name name, problem text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    holder record;
BEGIN
    SELECT * INTO holder FROM ops.use_api_key(key_digest);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF holder.problem IS NOT NULL OR NOT 'read' = ANY (holder.scopes) THEN
        RETURN QUERY SELECT holder.user_name, coalesce(holder.problem, 'without the scope read');
        RETURN;
    END IF;
    DELETE FROM ops.sessions WHERE expires_at < now();
    INSERT INTO ops.sessions (sha256, user_name, key_id)
    SELECT digest, k.user_name, k.id FROM ops.api_keys k WHERE k.sha256 = key_digest;
    RETURN QUERY SELECT holder.user_name, NULL::text;
END $$;
COMMENT ON FUNCTION ops.open_session_with_key(bytea, bytea) IS
    'Opens a session of the pages for the user of a key, by the SHA-256 of the key and of the id of the session; or returns why the key is not valid, and no row for an unknown key';
