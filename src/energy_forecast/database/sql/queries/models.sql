-- name: lock_versions
-- Take the lock for numbering versions until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtext('energy_forecast model versions'))

-- name: next_version
-- The next version number of a model.
SELECT coalesce(max(version::integer), 0) + 1 FROM models WHERE name = %(name)s

-- name: add_model
-- Add a version.
INSERT INTO models (id, name, type, parameters, version, is_active, trained_at, trained_until)
VALUES (%(id)s, %(name)s, %(type)s, %(parameters)s, %(version)s, false, clock_timestamp(), %(trained_until)s)

-- name: add_artifact
-- Add the fitted parameters of a version for one city.
INSERT INTO model_artifacts (model_id, city_id, artifact, sha256, training_digest, training_facts)
VALUES (%(model)s, %(city)s, %(artifact)s, %(sha256)s, %(training_digest)s, %(training_facts)s)

-- name: update_active
-- Mark as active the versions that are the champion of a city, or the newest of their name for at least one.
UPDATE models SET is_active = newest.is_newest
FROM (
    SELECT m.id, EXISTS (
        SELECT FROM model_promotions p WHERE p.model_id = m.id AND upper_inf(p.during)) OR EXISTS (
        SELECT FROM model_artifacts a
        WHERE a.model_id = m.id AND NOT EXISTS (
            SELECT FROM model_artifacts b JOIN models n ON n.id = b.model_id
            WHERE b.city_id = a.city_id AND n.name = m.name
              AND (n.trained_until, n.version::integer) > (m.trained_until, m.version::integer))) AS is_newest
    FROM models m
    WHERE m.name = %(name)s) newest
WHERE models.id = newest.id AND models.is_active <> newest.is_newest

-- name: trained_identically
-- The newest version of a model for a city that was trained by a time from identical data and parameters.
SELECT m.id, m.name, m.version, m.trained_until, a.artifact, a.sha256, a.training_facts
FROM model_artifacts a JOIN models m ON m.id = a.model_id
WHERE m.name = %(name)s AND a.city_id = %(city)s AND a.training_digest = %(training_digest)s
  AND m.trained_until <= %(at)s
ORDER BY m.version::integer DESC
LIMIT 1

-- name: newest_artifact
-- The newest version of a model for a city whose training data end by a time, or an older one.
SELECT m.id, m.name, m.version, m.trained_until, a.artifact, a.sha256, a.training_facts
FROM model_artifacts a JOIN models m ON m.id = a.model_id
WHERE m.name = %(name)s AND a.city_id = %(city)s AND m.trained_until <= %(at)s
ORDER BY m.trained_until DESC, m.version::integer DESC
LIMIT 1 OFFSET %(older)s

-- name: version_for
-- A version of a model that was trained for a city; the newest if the version is null.
SELECT m.id, m.name, m.version, m.trained_until
FROM model_artifacts a JOIN models m ON m.id = a.model_id
WHERE m.name = %(name)s AND a.city_id = %(city)s AND (%(version)s::text IS NULL OR m.version = %(version)s)
ORDER BY m.trained_until DESC, m.version::integer DESC
LIMIT 1

-- name: artifact
-- The fitted parameters of one version for one city.
SELECT id, name, version, trained_until, artifact, sha256, training_facts FROM readable_artifact(%(model)s, %(city)s)

-- name: list_models
-- Every version with its cities and its last evaluation (mape in percent; rmse and mae in kWh in an hour).
SELECT m.name, m.version, m.type, m.is_active, m.trained_at, m.trained_until,
       (SELECT array_agg(c.name ORDER BY c.name) FROM model_artifacts a JOIN cities c ON c.id = a.city_id
        WHERE a.model_id = m.id) AS cities,
       s.mape, s.rmse, s.mae, s.r2_score
FROM models m
LEFT JOIN LATERAL (
    SELECT mape, rmse, mae, r2_score FROM model_metrics WHERE model_id = m.id
    -- The database sets created_at; the forecaster sets the other columns
    ORDER BY created_at DESC, timestamp DESC LIMIT 1) s ON true
ORDER BY m.name, m.version::integer DESC

-- name: show_model
-- The versions of a model with all columns except the artifact.
SELECT m.id, m.name, m.version, m.type, m.is_active, m.trained_at, m.trained_until, m.parameters,
       (SELECT jsonb_object_agg(c.name, a.training_facts || jsonb_build_object(
            'artifact_bytes', octet_length(a.artifact), 'sha256', encode(a.sha256, 'hex'),
            'training_digest', encode(a.training_digest, 'hex')))
        FROM model_artifacts a JOIN cities c ON c.id = a.city_id WHERE a.model_id = m.id) AS cities,
       (SELECT count(*) FROM forecast_runs r WHERE r.model_id = m.id AND r.purpose <> 'backtest') AS forecast_runs,
       (SELECT count(*) FROM forecast_runs r WHERE r.model_id = m.id AND r.purpose = 'backtest') AS backtest_runs,
       (SELECT jsonb_agg(to_jsonb(e) - 'id' - 'model_id' ORDER BY e.timestamp DESC)
        FROM model_metrics e WHERE e.model_id = m.id) AS evaluations
FROM models m
WHERE m.name = %(name)s AND (%(version)s::text IS NULL OR m.version = %(version)s)
ORDER BY m.version::integer DESC

-- name: retraining_policies
-- The thresholds for retraining a city: age (days), drift (ratio of MAPEs) and coverage (a share); null: never.
SELECT reason, threshold, window_days, note, changed_at, changed_by::text AS changed_by
FROM ops.retraining_policies
ORDER BY reason

-- name: set_retraining_policy
-- Change the retraining threshold of a reason (null: never); no row if the reason does not exist.
UPDATE ops.retraining_policies
SET threshold = %(threshold)s
WHERE reason = %(reason)s
RETURNING reason, threshold, window_days

-- name: version_names
-- The name and version number of every model version.
SELECT id, name, version FROM models
