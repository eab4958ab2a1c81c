-- Webhooks: addresses that are told of new forecasts

CREATE TABLE ops.webhooks (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_name     NAME NOT NULL,
    url           TEXT NOT NULL,
    secret        BYTEA NOT NULL,
    allow_private BOOLEAN NOT NULL DEFAULT false,
    created_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    created_by    NAME NOT NULL DEFAULT session_user,
    CONSTRAINT webhook_url CHECK (url ~ '^https?://[!-~]+$' AND length(url) <= 2000),
    CONSTRAINT webhook_secret CHECK (octet_length(secret) = 32)
);
COMMENT ON TABLE ops.webhooks IS
    'One row per address that receives an event for each new live forecast of the cities of a user';
COMMENT ON COLUMN ops.webhooks.user_name IS 'The user with whose rights the forecasts are read';
COMMENT ON COLUMN ops.webhooks.secret IS
    'Key of the HMAC-SHA256 of each event. Not hashed, because each signature needs it; not in the audit log';
COMMENT ON COLUMN ops.webhooks.allow_private IS 'Whether the address may be in a private network or on this machine';

CREATE TABLE ops.webhook_states (
    webhook_id      UUID PRIMARY KEY REFERENCES ops.webhooks (id) ON DELETE CASCADE,
    position        BIGINT NOT NULL,
    delivered_city  UUID,
    delivered_at    TIMESTAMP WITH TIME ZONE,
    failures        INTEGER NOT NULL DEFAULT 0,
    failing_since   TIMESTAMP WITH TIME ZONE,
    next_attempt_at TIMESTAMP WITH TIME ZONE,
    disabled_at     TIMESTAMP WITH TIME ZONE,
    reason          TEXT,
    CONSTRAINT webhook_failing CHECK (
        (failing_since IS NULL) = (failures = 0) AND failures >= 0
        AND (next_attempt_at IS NULL) = (failing_since IS NULL)
        AND (reason IS NULL) = (failing_since IS NULL AND disabled_at IS NULL) AND length(reason) <= 500)
);
COMMENT ON TABLE ops.webhook_states IS
    'The deliveries of each webhook. Not in webhooks, because each change there is audited';
COMMENT ON COLUMN ops.webhook_states.position IS 'Sequence in ops.audit_chain up to which all live runs are delivered';
COMMENT ON COLUMN ops.webhook_states.delivered_city IS
    'Of the first run after the position: the last delivered city, in the order of the ids. Null: none';
COMMENT ON COLUMN ops.webhook_states.failures IS 'Failed attempts since the last success';
COMMENT ON COLUMN ops.webhook_states.reason IS 'Why the last attempt failed, or why the webhook is disabled';
