-- name: role_facts
-- What stands against a role as a person's: whether it is one of the platform's, bound by no policy, or a member.
SELECT r.rolname IN ('energy_forecast_owner', 'energy_forecast_app', 'energy_forecast_ingest',
                     'energy_forecast_forecaster', 'energy_forecast_operator', 'energy_forecast_auditor',
                     'energy_forecast_api') AS is_platform,
       r.rolsuper OR r.rolbypassrls AS is_unbound,
       EXISTS (SELECT FROM unnest(ARRAY['energy_forecast_owner', 'energy_forecast_ingest', 'energy_forecast_forecaster',
                                        'energy_forecast_operator', 'energy_forecast_auditor']) AS platform
               WHERE pg_has_role(r.rolname, platform, 'MEMBER')) AS sees_all,
       EXISTS (SELECT FROM pg_auth_members m
               WHERE m.member = r.oid AND m.roleid = 'energy_forecast_app'::regrole) AS is_person
FROM pg_roles r
WHERE r.rolname = %(name)s

-- name: people
-- Every person, with the cities that she may see.
SELECT r.rolname AS name, r.rolcanlogin AS can_log_in,
       coalesce(array_agg(c.name ORDER BY c.name) FILTER (WHERE c.name IS NOT NULL), '{}') AS cities
FROM pg_auth_members m
JOIN pg_roles r ON r.oid = m.member
LEFT JOIN user_city_access a ON a.user_id = r.rolname
LEFT JOIN cities c ON c.id = a.city_id
WHERE m.roleid = 'energy_forecast_app'::regrole
  AND (%(name)s::text IS NULL OR r.rolname = %(name)s)
GROUP BY r.rolname, r.rolcanlogin
ORDER BY r.rolname

-- name: grant_cities
-- Lets a person see cities; those that she may see already are left alone.
INSERT INTO user_city_access (user_id, city_id)
SELECT %(name)s, city FROM unnest(%(cities)s::uuid[]) AS city
ON CONFLICT DO NOTHING

-- name: revoke_cities
-- Takes cities back from a person.
DELETE FROM user_city_access WHERE user_id = %(name)s AND city_id = ANY (%(cities)s)

-- name: revoke_everything
-- Takes every city back from a person.
DELETE FROM user_city_access WHERE user_id = %(name)s
