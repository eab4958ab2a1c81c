-- name: role_properties
-- The properties that decide whether a role can be a user: of one role by name, or of every user if the name is null.
/* A login of the platform is a member of energy_forecast_app but not a user: it has ADMIN OPTION or is the session user. */
WITH RECURSIVE member AS (
    SELECT m.member AS oid, bool_or(m.admin_option) AS is_administrator
    FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
    WHERE g.rolname = 'energy_forecast_app' GROUP BY m.member
), candidate AS (
    SELECT r.*, m.oid IS NOT NULL AND NOT m.is_administrator AND r.rolname !~ '^energy_forecast_'
                AND r.rolname <> session_user AS is_user
    FROM pg_roles r LEFT JOIN member m ON m.oid = r.oid
), reached (member, roleid) AS (
    SELECT m.member, m.roleid FROM pg_auth_members m
    UNION
    SELECT d.member, m.roleid FROM reached d JOIN pg_auth_members m ON m.member = d.roleid
)
SELECT c.rolname::text AS name, c.rolcanlogin AS can_log_in, c.is_user,
       array_remove(ARRAY[CASE WHEN c.rolsuper THEN 'SUPERUSER' END, CASE WHEN c.rolcreaterole THEN 'CREATEROLE' END,
                          CASE WHEN c.rolcreatedb THEN 'CREATEDB' END, CASE WHEN c.rolreplication THEN 'REPLICATION' END,
                          CASE WHEN c.rolbypassrls THEN 'BYPASSRLS' END], NULL) AS attributes,
       ARRAY(SELECT DISTINCT g.rolname::text FROM reached d JOIN pg_roles g ON g.oid = d.roleid
             WHERE d.member = c.oid AND g.rolname <> 'energy_forecast_app' ORDER BY 1) AS groups,
       EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass::oid AND d.refobjid = c.oid
                                           AND d.deptype = 'o') AS owns
FROM candidate c
WHERE CASE WHEN %(name)s::text IS NULL THEN c.is_user ELSE c.rolname = %(name)s::text END
ORDER BY 1

-- name: is_keyword
-- Whether SQL accepts a name only in quotes.
SELECT EXISTS (SELECT FROM pg_get_keywords() WHERE word = %(name)s AND catcode <> 'U')

-- name: name_in_other_case
-- A role whose name differs from a lower-case name only in case.
SELECT rolname::text FROM pg_roles WHERE lower(rolname::text) = %(name)s AND rolname <> %(name)s::name LIMIT 1

-- name: has_no_membership
-- Whether a role is not a member of energy_forecast_app and the API is not a member of the role.
SELECT NOT EXISTS (
    SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member
    WHERE (g.rolname, r.rolname) IN (('energy_forecast_app', %(name)s::name), (%(name)s::name, 'energy_forecast_api')))

-- name: cities_by_user
-- The cities granted to each user: (user, names of cities).
SELECT a.user_id::text, array_agg(c.name::text ORDER BY c.name)
FROM user_city_access a JOIN cities c ON c.id = a.city_id
WHERE %(name)s::text IS NULL OR a.user_id::text = %(name)s::text
GROUP BY a.user_id

-- name: grant_cities
-- Grant cities to a user; existing grants are not changed.
INSERT INTO user_city_access (user_id, city_id)
SELECT %(name)s, city FROM unnest(%(cities)s::uuid[]) AS city
ON CONFLICT DO NOTHING

-- name: revoke_cities
-- Revoke cities from a user.
DELETE FROM user_city_access WHERE user_id = %(name)s AND city_id = ANY (%(cities)s)

-- name: revoke_everything
-- Revoke every city from a user.
DELETE FROM user_city_access WHERE user_id = %(name)s

-- name: open_functions
-- The functions that PUBLIC may call, and that database.sql revokes if a superuser upgrades.
SELECT DISTINCT p.proname::text
FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace = 'pg_catalog'::regnamespace::oid AND a.grantee = 0
  AND p.proname ~ '^(pg_(try_)?advisory_.*|lo_.*|loread|lowrite|pg_logical_emit_message|pg_export_snapshot)$'
ORDER BY 1

-- name: leakproof_operators
-- The number of leakproof operator functions that database.sql makes not leakproof if a superuser upgrades.
SELECT count(*) FROM pg_proc p
WHERE p.proleakproof AND p.pronamespace = 'pg_catalog'::regnamespace::oid
  AND EXISTS (SELECT FROM pg_operator o WHERE o.oprcode::oid = p.oid)
  AND p.proname !~ '^(timestamptz_(eq|ne|lt|le|gt|ge)|uuid_(eq|ne))$'
