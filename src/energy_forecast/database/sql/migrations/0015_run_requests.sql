-- Runs that users request over HTTP

CREATE TABLE ops.run_requests (
    id              UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    requested_by    NAME NOT NULL,
    kind            TEXT NOT NULL,
    city_ids        UUID[] NOT NULL,
    parameters      JSONB NOT NULL,
    idempotency_key TEXT,
    status          TEXT NOT NULL DEFAULT 'waiting',
    result          JSONB,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    started_at      TIMESTAMP WITH TIME ZONE,
    finished_at     TIMESTAMP WITH TIME ZONE,
    CONSTRAINT run_request_kind CHECK (kind IN ('forecast', 'train', 'score')),
    CONSTRAINT run_request_cities CHECK (cardinality(city_ids) BETWEEN 1 AND 20000),
    CONSTRAINT run_request_parameters CHECK (jsonb_typeof(parameters) = 'object' AND octet_length(parameters::text) <= 10000),
    CONSTRAINT run_request_idempotency_key CHECK (idempotency_key ~ '^[!-~]{1,255}$'),
    CONSTRAINT run_request_status CHECK (status IN ('waiting', 'running', 'succeeded', 'partial', 'failed')),
    CONSTRAINT run_request_started CHECK ((started_at IS NULL) = (status = 'waiting') AND started_at >= created_at),
    CONSTRAINT run_request_finished CHECK (
        (finished_at IS NULL) = (status IN ('waiting', 'running')) AND finished_at >= started_at
        AND (finished_at IS NULL) = (result IS NULL)),
    CONSTRAINT run_request_once UNIQUE (requested_by, idempotency_key)
);
COMMENT ON TABLE ops.run_requests IS
    'One row per run that a user requested: a forecast, training or scoring of some cities. It is updated when the run starts and '
    'when it ends';
COMMENT ON COLUMN ops.run_requests.requested_by IS 'The user. Only they and the platform''s roles see the request';
COMMENT ON COLUMN ops.run_requests.city_ids IS 'Cities that the user could see at the request';
COMMENT ON COLUMN ops.run_requests.parameters IS 'model, models and horizon_hours, as far as the kind has them';
COMMENT ON COLUMN ops.run_requests.idempotency_key IS
    'Chosen by the user: a second request with the same key and content is the first one, not a new one';
COMMENT ON COLUMN ops.run_requests.status IS 'partial: some cities failed; `result` has the reasons';
COMMENT ON COLUMN ops.run_requests.result IS
    'runs: the ids of the stored runs. trained: city, model and version. failed: the reason by city. error: why nothing was done';

CREATE INDEX idx_run_requests_open ON ops.run_requests (created_at) WHERE finished_at IS NULL;
COMMENT ON INDEX ops.idx_run_requests_open IS 'Serves the next request and the number of open ones';
