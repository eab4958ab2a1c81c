-- Sessions of the pages

CREATE TABLE ops.sessions (
    sha256     BYTEA PRIMARY KEY,
    user_name  NAME NOT NULL,
    is_link    BOOLEAN NOT NULL DEFAULT false,
    key_id     UUID REFERENCES ops.api_keys (id),
    opened_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now() + interval '7 days',
    CONSTRAINT session_form CHECK (octet_length(sha256) = 32),
    CONSTRAINT session_length CHECK (
        expires_at > opened_at AND expires_at <= opened_at + CASE WHEN is_link THEN interval '10 minutes' ELSE interval '7 days' END)
);
COMMENT ON TABLE ops.sessions IS
    'One row per signed-in browser. Its requests have the rights of its user. A session ends by sign-out, after 12 hours without a request, or after 7 days';
COMMENT ON COLUMN ops.sessions.sha256 IS 'SHA-256 of the id in the cookie, which has 256 random bits, so no salt is needed';
COMMENT ON COLUMN ops.sessions.is_link IS 'Whether it is a link that opens one session, within 10 minutes, instead of a session';
COMMENT ON COLUMN ops.sessions.key_id IS 'The key with which the user signed in; the session ends with it. Null: a password or a link';

CREATE TABLE ops.session_uses (
    sha256       BYTEA PRIMARY KEY REFERENCES ops.sessions (sha256) ON DELETE CASCADE,
    last_used_at TIMESTAMP WITH TIME ZONE NOT NULL
);
COMMENT ON TABLE ops.session_uses IS
    'The last use of each session, accurate to a minute. Not in sessions, because each change there is audited';
