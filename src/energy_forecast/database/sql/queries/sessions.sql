-- name: use
-- The user of a session by the hash of its id; no row if it does not exist or has ended.
SELECT user_name FROM ops.use_session(%(sha256)s)

-- name: open_with_key
-- Open a session for the user of a key: the user, and why the key is not valid; no row for an unknown key.
SELECT user_name, problem FROM ops.open_session_with_key(%(key_sha256)s, %(sha256)s)

-- name: open_as_login
-- Open a session for the user who is logged in to PostgreSQL; no row if a pooler has logged in as another one.
SELECT ops.open_session(%(sha256)s) WHERE session_user = %(user)s

-- name: add_link
-- Add a link that opens one session of a user within 10 minutes, as an operator.
INSERT INTO ops.sessions (sha256, user_name, is_link, expires_at) VALUES (%(sha256)s, %(user)s, true, now() + interval '10 minutes')

-- name: redeem_link
-- Open a session with a link: the user; null if the link does not exist, was used or has expired.
SELECT ops.redeem_link(%(link_sha256)s, %(sha256)s)

-- name: close
-- End a session.
SELECT ops.close_session(%(sha256)s)

-- name: close_all
-- End all sessions and links of a user: the number of sessions that had not expired.
WITH ended AS (
    DELETE FROM ops.sessions WHERE user_name = %(user)s RETURNING is_link, expires_at
)
SELECT count(*) FROM ended WHERE NOT is_link AND expires_at > now()
