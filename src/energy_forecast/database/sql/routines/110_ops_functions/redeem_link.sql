/* For the login of the API. The link is deleted in the same statement, so it opens one session. */
CREATE OR REPLACE FUNCTION ops.redeem_link(link_digest bytea, digest bytea)
    RETURNS name
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
DECLARE
    link_user name;
BEGIN
    DELETE FROM ops.sessions WHERE sha256 = link_digest AND is_link AND expires_at > now() RETURNING user_name INTO link_user;
    IF link_user IS NOT NULL THEN
        INSERT INTO ops.sessions (sha256, user_name) VALUES (digest, link_user);
    END IF;
    RETURN link_user;
END $$;
COMMENT ON FUNCTION ops.redeem_link(bytea, bytea) IS
    'Opens a session of the pages with a link, by the SHA-256 of both: the user, or null if the link does not exist, was used or has expired';
