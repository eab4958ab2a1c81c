-- Model versions, their artifacts, the champion of each city, and when to retrain

CREATE TABLE models (
    id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name          VARCHAR(100) NOT NULL,
    type          VARCHAR(50) NOT NULL,
    parameters    JSONB NOT NULL DEFAULT '{}',
    version       VARCHAR(20) NOT NULL,
    is_active     BOOLEAN NOT NULL DEFAULT false,
    trained_at    TIMESTAMP WITH TIME ZONE,
    trained_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    updated_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT unique_model_version UNIQUE (name, version),
    CONSTRAINT model_version_number CHECK (version ~ '^[1-9][0-9]{0,8}$')
);
COMMENT ON TABLE models IS 'One row per version of a model. A trained version never changes; only is_active does';
COMMENT ON COLUMN models.type IS 'baseline, regression, trees or ensemble';
COMMENT ON COLUMN models.parameters IS 'Parameters of the training';
COMMENT ON COLUMN models.is_active IS
    'Whether the version is now the champion of a city, or the newest version of its name for at least one city';
COMMENT ON COLUMN models.trained_until IS
    'Knowledge cutoff: all training data had available_at up to this time. The version may only issue forecasts after '
    'it';

CREATE INDEX idx_models_active ON models (is_active) WHERE is_active = true;
COMMENT ON INDEX idx_models_active IS 'Serves the versions in use';

CREATE INDEX idx_models_type ON models (type);
COMMENT ON INDEX idx_models_type IS 'Serves all versions of one kind';

CREATE TABLE model_artifacts (
    model_id        UUID NOT NULL REFERENCES models (id),
    city_id         UUID NOT NULL REFERENCES cities (id),
    artifact        BYTEA NOT NULL,
    sha256          BYTEA NOT NULL,
    training_digest BYTEA NOT NULL,
    training_facts  JSONB NOT NULL,
    created_at      TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT model_artifact_key PRIMARY KEY (model_id, city_id),
    CONSTRAINT model_artifact_whole CHECK (sha256 = sha256(artifact)),
    CONSTRAINT model_artifact_digest_size CHECK (octet_length(training_digest) = 32)
);
-- Parameters hardly compress: trying costs more time than it saves space. PostgreSQL 15 has no STORAGE in CREATE TABLE
ALTER TABLE model_artifacts ALTER COLUMN artifact SET STORAGE EXTERNAL;
COMMENT ON TABLE model_artifacts IS
    'The fitted parameters of one model version for one city, without code. Append-only';
COMMENT ON COLUMN model_artifacts.sha256 IS 'SHA-256 of the artifact, checked on writing and on reading';
COMMENT ON COLUMN model_artifacts.training_digest IS
    'SHA-256 of the training data and parameters: equal digests mean equal models';
COMMENT ON COLUMN model_artifacts.training_facts IS 'Hours used and excluded, held-out scores, calibration';
COMMENT ON CONSTRAINT model_artifact_whole ON model_artifacts IS
    'The artifact is complete and unchanged';

CREATE INDEX idx_model_artifacts_city ON model_artifacts (city_id, training_digest);
COMMENT ON INDEX idx_model_artifacts_city IS
    'Serves the newest version for a city, and whether one was trained from the same data';

CREATE TABLE model_promotions (
    id          UUID NOT NULL DEFAULT gen_random_uuid(),
    city_id     UUID NOT NULL REFERENCES cities (id),
    model_id    UUID NOT NULL REFERENCES models (id),
    during      TSTZRANGE NOT NULL DEFAULT tstzrange(now(), NULL),
    reason      TEXT NOT NULL,
    evidence    JSONB NOT NULL,
    is_forced   BOOLEAN NOT NULL,
    returns_to  UUID,
    promoted_by NAME NOT NULL DEFAULT session_user,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT model_promotion_id PRIMARY KEY (id, city_id),
    CONSTRAINT promotion_returns_to FOREIGN KEY (returns_to, city_id) REFERENCES model_promotions (id, city_id),
    CONSTRAINT promotion_no_overlap EXCLUDE USING gist (city_id WITH =, during WITH &&),
    CONSTRAINT promotion_artifact FOREIGN KEY (model_id, city_id) REFERENCES model_artifacts (model_id, city_id),
    CONSTRAINT promotion_during CHECK (NOT isempty(during) AND lower(during) = created_at AND lower_inc(during)),
    CONSTRAINT promotion_reason CHECK (reason <> '')
);
COMMENT ON TABLE model_promotions IS
    'The champion of each city over time, with author and reason. A row is added; the next promotion sets its end, '
    'once';
COMMENT ON COLUMN model_promotions.during IS
    'From this promotion to the next; without an end, the version serves the city now';
COMMENT ON COLUMN model_promotions.evidence IS 'The paired tests against the previous champion and the naive models';
COMMENT ON COLUMN model_promotions.is_forced IS 'Promoted although the tests did not support it; reason explains why';
COMMENT ON COLUMN model_promotions.returns_to IS
    'For a rollback: the promotion whose version serves again. The next rollback continues before that promotion';
COMMENT ON COLUMN model_promotions.promoted_by IS 'The login that promoted it';
COMMENT ON CONSTRAINT promotion_returns_to ON model_promotions IS
    'A rollback returns to a promotion of the same city';
COMMENT ON CONSTRAINT promotion_no_overlap ON model_promotions IS
    'At most one champion per city at any time';

CREATE TABLE ops.retraining_policies (
    reason      TEXT PRIMARY KEY,
    threshold   DOUBLE PRECISION,
    window_days INTEGER,
    note        TEXT NOT NULL,
    changed_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    changed_by  NAME NOT NULL DEFAULT session_user,
    CONSTRAINT retraining_policy_reason CHECK (reason IN ('age', 'drift', 'coverage')),
    CONSTRAINT retraining_policy_threshold CHECK (CASE reason
        WHEN 'age' THEN threshold BETWEEN 1 AND 3650
        WHEN 'drift' THEN threshold BETWEEN 1 AND 100
        ELSE threshold BETWEEN 0 AND 1 END),
    CONSTRAINT retraining_policy_window CHECK (
        (reason = 'age') = (window_days IS NULL) AND window_days BETWEEN 7 AND 365)
);
COMMENT ON TABLE ops.retraining_policies IS
    'Thresholds for retraining a city. `model due` lists the cities and reasons; `train --due` retrains them';
COMMENT ON COLUMN ops.retraining_policies.threshold IS
    'age: days since the end of the training data. drift: recent MAPE divided by the held-out MAPE. coverage: minimum '
    'share of hours inside the 90 % interval. Null: never for this reason';
COMMENT ON COLUMN ops.retraining_policies.window_days IS
    'Days of issued forecasts over which drift and coverage are measured';

INSERT INTO ops.retraining_policies (reason, threshold, window_days, note) VALUES
    ('age', 90, NULL, 'Refitting more often gained nothing on the cities measured'),
    ('drift', 1.5, 28, 'Forecast weather alone makes errors larger than held-out time with observed weather does'),
    ('coverage', 0.8, 28, 'Chance alone moves the coverage of four weeks by about five points');
