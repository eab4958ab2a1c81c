CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA ext;

CREATE TABLE model_promotions (
    id          UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    city_id     UUID NOT NULL REFERENCES cities (id),
    model_id    UUID NOT NULL REFERENCES models (id),
    during      TSTZRANGE NOT NULL DEFAULT tstzrange(CURRENT_TIMESTAMP, NULL),
    reason      TEXT NOT NULL,
    evidence    JSONB NOT NULL,
    is_forced   BOOLEAN NOT NULL,
    promoted_by NAME NOT NULL DEFAULT session_user,
    created_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    -- At most one champion per city at any time
    CONSTRAINT promotion_no_overlap EXCLUDE USING gist (city_id WITH =, during WITH &&),
    CONSTRAINT promotion_artifact FOREIGN KEY (model_id, city_id) REFERENCES model_artifacts (model_id, city_id),
    CONSTRAINT promotion_during CHECK (NOT isempty(during) AND lower(during) = created_at AND lower_inc(during)),
    CONSTRAINT promotion_reason CHECK (reason <> '')
);
COMMENT ON TABLE model_promotions IS
    'Which model version was the champion of a city when, by whom and why. A row is added; its end is set once, by the next one';
COMMENT ON COLUMN model_promotions.during IS 'From its promotion to the next one; without an end it serves the city now';
COMMENT ON COLUMN model_promotions.evidence IS 'The paired tests against the champion before and the naive models';
COMMENT ON COLUMN model_promotions.is_forced IS 'Promoted although the evidence did not say so; reason says why';
COMMENT ON COLUMN model_promotions.promoted_by IS 'The login that promoted it';
