/* The login of the API has no privilege on the tables. The use is recorded at most once a minute, and never waited for. */
CREATE OR REPLACE FUNCTION ops.use_session(digest bytea)
    RETURNS TABLE (user_name name)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    found_user name;
    last_use timestamptz;
BEGIN
    SELECT s.user_name, coalesce(u.last_used_at, s.opened_at) INTO found_user, last_use
    FROM ops.sessions s LEFT JOIN ops.session_uses u USING (sha256) LEFT JOIN ops.api_keys k ON k.id = s.key_id
    WHERE s.sha256 = digest AND NOT s.is_link AND s.expires_at > now() AND coalesce(k.revoked_at, 'infinity') > now()
      AND coalesce(k.expires_at, 'infinity') > now() AND EXISTS (
        SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
        WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname = s.user_name);
    IF found_user IS NULL OR last_use < now() - interval '12 hours' THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT found_user;
    IF pg_is_in_recovery() OR last_use > now() - interval '1 minute' THEN
        RETURN;
    END IF;
    -- A concurrent request of the same minute records it
    IF pg_try_advisory_xact_lock(hashtextextended('use of session ' || encode(digest, 'hex'), 0)) THEN
        BEGIN
            INSERT INTO ops.session_uses VALUES (digest, now())
            ON CONFLICT (sha256) DO UPDATE SET last_used_at = excluded.last_used_at;
        EXCEPTION WHEN foreign_key_violation THEN
            -- A sign-out at the same time: this request is the last one of the session
        END;
    END IF;
END $$;
COMMENT ON FUNCTION ops.use_session(bytea) IS
    'The user of a session by the SHA-256 of its id; no row if it does not exist or has ended. Records its use';
