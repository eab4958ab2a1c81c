CREATE TABLE models (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name          VARCHAR(100) NOT NULL,
    type          VARCHAR(50) NOT NULL,
    parameters    JSONB NOT NULL DEFAULT '{}',
    version       VARCHAR(20) NOT NULL,
    is_active     BOOLEAN NOT NULL DEFAULT false,
    trained_at    TIMESTAMP WITH TIME ZONE,
    trained_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT unique_model_version UNIQUE (name, version),
    CONSTRAINT model_version_number CHECK (version ~ '^[1-9][0-9]{0,8}$')
);
COMMENT ON TABLE models IS
    'One row a version of a model. A version never changes after it was trained; only is_active does';
COMMENT ON COLUMN models.type IS 'baseline, regression or trees';
COMMENT ON COLUMN models.parameters IS 'What the version was trained with';
COMMENT ON COLUMN models.is_active IS 'Whether it is the champion of a city now, or the newest version of its name for at least one';
COMMENT ON COLUMN models.trained_until IS 'Knowledge cutoff: everything that it learned from had available_at up to here. It may only forecast from here on';

-- Serves: the versions in use
CREATE INDEX idx_models_active ON models (is_active) WHERE is_active = true;
-- Serves: all versions of one kind
CREATE INDEX idx_models_type ON models (type);

CREATE TABLE model_artifacts (
    model_id        UUID NOT NULL REFERENCES models (id),
    city_id         UUID NOT NULL REFERENCES cities (id),
    artifact        BYTEA NOT NULL,
    sha256          BYTEA NOT NULL,
    training_digest BYTEA NOT NULL,
    training_facts  JSONB NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT model_artifact_key PRIMARY KEY (model_id, city_id),
    CONSTRAINT model_artifact_whole CHECK (sha256 = sha256(artifact)),
    CONSTRAINT model_artifact_digest_size CHECK (octet_length(training_digest) = 32)
);
-- Model parameters hardly compress; trying costs more time than it saves space
ALTER TABLE model_artifacts ALTER COLUMN artifact SET STORAGE EXTERNAL;
COMMENT ON TABLE model_artifacts IS
    'The fitted parameters of one model version for one city, never a pickle. Append-only';
COMMENT ON COLUMN model_artifacts.sha256 IS 'SHA-256 of the artifact; checked here on writing, and again on reading';
COMMENT ON COLUMN model_artifacts.training_digest IS 'SHA-256 of what it was trained from and with: equal digests mean equal models';
COMMENT ON COLUMN model_artifacts.training_facts IS 'Hours used and left out, held-out scores, calibration';

-- Serves: the newest version for a city, and whether one was trained from the same data
CREATE INDEX idx_model_artifacts_city ON model_artifacts (city_id, training_digest);
