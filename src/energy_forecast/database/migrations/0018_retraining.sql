CREATE TABLE ops.retraining_policies (
    reason      TEXT PRIMARY KEY,
    threshold   DOUBLE PRECISION,
    window_days INTEGER,
    note        TEXT NOT NULL,
    changed_at  TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    changed_by  NAME NOT NULL DEFAULT session_user,
    CONSTRAINT retraining_policy_reason CHECK (reason IN ('age', 'drift', 'coverage')),
    CONSTRAINT retraining_policy_threshold CHECK (CASE reason
        WHEN 'age' THEN threshold BETWEEN 1 AND 3650
        WHEN 'drift' THEN threshold BETWEEN 1 AND 100
        ELSE threshold BETWEEN 0 AND 1 END),
    CONSTRAINT retraining_policy_window CHECK ((reason = 'age') = (window_days IS NULL) AND window_days BETWEEN 7 AND 365)
);
COMMENT ON TABLE ops.retraining_policies IS
    'When a city is to be learnt anew. `model due` says which cities are, and why; `train --due` does it';
COMMENT ON COLUMN ops.retraining_policies.threshold IS 'age: days since the data that was learnt from. drift: MAPE of late over that on held-out time. coverage: share of hours inside the 90 % interval, at least. Null: never for this reason';
COMMENT ON COLUMN ops.retraining_policies.window_days IS 'Over how many days of issued forecasts drift and coverage are measured';

INSERT INTO ops.retraining_policies (reason, threshold, window_days, note) VALUES
    ('age', 90, NULL, 'Refitting more often gained nothing on the cities measured'),
    ('drift', 1.5, 28, 'Forecast weather alone makes errors larger than held-out time with observed weather does'),
    ('coverage', 0.8, 28, 'Chance alone moves the coverage of four weeks by about five points');
