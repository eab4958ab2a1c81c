-- Keys of the HTTP API

CREATE TABLE ops.api_keys (
    id         UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    prefix     TEXT NOT NULL,
    sha256     BYTEA NOT NULL,
    user_name  NAME NOT NULL,
    scopes     TEXT[] NOT NULL,
    label      TEXT,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    created_by NAME NOT NULL DEFAULT session_user,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT api_key_prefix UNIQUE (prefix),
    CONSTRAINT api_key_sha256 UNIQUE (sha256),
    CONSTRAINT api_key_form CHECK (prefix ~ '^efp_[a-z0-9]{8}$' AND octet_length(sha256) = 32 AND length(label) <= 200),
    CONSTRAINT api_key_scopes CHECK (scopes <@ ARRAY['read', 'ingest', 'run'] AND cardinality(scopes) BETWEEN 1 AND 3)
);
COMMENT ON TABLE ops.api_keys IS
    'One row per key of the HTTP API. A request with the key has the rights of its user. Only the hash of a key is stored';
COMMENT ON COLUMN ops.api_keys.prefix IS 'The first 12 characters of the key, by which people recognise it';
COMMENT ON COLUMN ops.api_keys.sha256 IS 'SHA-256 of the whole key, which has 256 random bits, so no salt is needed';
COMMENT ON COLUMN ops.api_keys.user_name IS 'The role whose rights a request has';
COMMENT ON COLUMN ops.api_keys.scopes IS 'read: read everything that the user may. ingest: load data. run: start forecasts';
COMMENT ON COLUMN ops.api_keys.expires_at IS 'Null: never';

CREATE TABLE ops.api_key_uses (
    key_id       UUID PRIMARY KEY REFERENCES ops.api_keys (id),
    last_used_at TIMESTAMP WITH TIME ZONE NOT NULL
);
COMMENT ON TABLE ops.api_key_uses IS
    'The last use of each key, accurate to a minute. Not in api_keys, because each change there is audited';
