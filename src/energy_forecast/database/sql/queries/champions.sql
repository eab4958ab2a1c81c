-- name: lock_promotions
-- Take the lock for promotions until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtext('energy_forecast promotions'))

-- name: champion_at
-- The champion of a city at a time; no row if there was none.
SELECT p.id, p.model_id, m.name, m.version
FROM model_promotions p JOIN models m ON m.id = p.model_id
WHERE p.city_id = %(city)s AND p.during @> %(at)s::timestamptz

-- name: champion_before
-- The promotion of a city before the present one; no row if there was none.
-- A rollback takes the position of the promotion that it restored, so repeated rollbacks go further back.
WITH RECURSIVE present AS (
    SELECT id, city_id, during, returns_to FROM model_promotions WHERE city_id = %(city)s AND upper_inf(during)
    UNION ALL
    SELECT p.id, p.city_id, p.during, p.returns_to
    FROM present JOIN model_promotions p ON p.id = present.returns_to AND p.city_id = present.city_id
)
SELECT p.id, p.model_id, m.name, m.version
FROM present
JOIN model_promotions p ON p.city_id = present.city_id AND upper(p.during) = lower(present.during)
JOIN models m ON m.id = p.model_id
WHERE present.returns_to IS NULL

-- name: add_promotion
-- Make a version the champion of a city from now on.
INSERT INTO model_promotions (city_id, model_id, reason, evidence, is_forced, returns_to)
VALUES (%(city)s, %(model)s, %(reason)s, %(evidence)s, %(is_forced)s, %(returns_to)s)

-- name: promotions
-- The champions of cities, the present one first; with a time, those at that time.
SELECT c.name AS city, m.name AS model, m.version, lower(p.during) AS first, upper(p.during) AS end, p.reason,
       p.is_forced, p.promoted_by, p.evidence
FROM model_promotions p JOIN cities c ON c.id = p.city_id JOIN models m ON m.id = p.model_id
WHERE c.name = ANY (%(cities)s) AND (%(at)s::timestamptz IS NULL OR p.during @> %(at)s::timestamptz)
ORDER BY c.name, lower(p.during) DESC

-- name: may_read_reasons
-- Whether the role may read the reasons of promotions.
SELECT has_column_privilege('model_promotions', 'reason', 'SELECT')

-- name: promotions_without_reasons
-- As promotions, for a role that may not read their reasons.
SELECT c.name AS city, m.name AS model, m.version, lower(p.during) AS first, upper(p.during) AS end, NULL AS reason,
       p.is_forced, NULL AS promoted_by, p.evidence
FROM model_promotions p JOIN cities c ON c.id = p.city_id JOIN models m ON m.id = p.model_id
WHERE c.name = ANY (%(cities)s) AND (%(at)s::timestamptz IS NULL OR p.during @> %(at)s::timestamptz)
ORDER BY c.name, lower(p.during) DESC

-- name: backtest_conditions
-- Kinds of weather and assumptions with which all of these models were backtested for a city, last used first.
SELECT r.weather, r.assumptions
FROM forecast_runs r JOIN models m ON m.id = r.model_id
WHERE r.purpose = 'backtest' AND m.name = ANY (%(models)s)
  AND EXISTS (SELECT FROM prediction_vintages v
              WHERE v.run_id = r.id AND v.issued_at = r.issued_at AND v.city_id = %(city)s)
GROUP BY r.weather, r.assumptions
HAVING count(DISTINCT m.name) = cardinality(%(models)s::text[])
ORDER BY max(r.created_at) DESC
