/* The login of the API has no privilege on the table, so it can neither list keys nor change them. A user who was removed has no
   rights any more, whatever their keys say. The use is recorded at most once a minute, and never waited for. */
CREATE OR REPLACE FUNCTION ops.use_api_key(digest bytea)
    RETURNS TABLE (prefix text, user_name name, scopes text[], problem text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    found_key ops.api_keys;
BEGIN
    SELECT * INTO found_key FROM ops.api_keys k WHERE k.sha256 = digest;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT found_key.prefix, found_key.user_name, found_key.scopes, CASE
        WHEN found_key.revoked_at <= now() THEN 'revoked'
        WHEN found_key.expires_at <= now() THEN 'expired'
        WHEN NOT EXISTS (
            SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
            WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname = found_key.user_name) THEN 'without a user'
    END;
    IF pg_is_in_recovery() OR EXISTS (
        SELECT FROM ops.api_key_uses u
        WHERE u.key_id = found_key.id AND u.last_used_at > now() - interval '1 minute') THEN
        RETURN;
    END IF;
    -- A concurrent request of the same minute records it
    IF pg_try_advisory_xact_lock(hashtextextended('use of ' || found_key.prefix, 0)) THEN
        INSERT INTO ops.api_key_uses VALUES (found_key.id, now())
        ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at;
    END IF;
END $$;
COMMENT ON FUNCTION ops.use_api_key(bytea) IS
    'The user and the scopes of a key by its SHA-256, and why it is not valid; no row for an unknown key. Records its use';
