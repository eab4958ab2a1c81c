-- name: version
-- The version of the schema, from the mark of the last upgrade; null without one.
SELECT substring(obj_description(to_regnamespace('ops'), 'pg_namespace') FROM 'Version (\d+), routines')

-- name: has_mark
-- Whether the mark of the last upgrade is this one.
SELECT obj_description(to_regnamespace('ops'), 'pg_namespace') IS NOT DISTINCT FROM %(mark)s::text

-- name: made_by_alembic
-- Whether an unreleased version of this program, which used Alembic, made the schema.
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'alembic_version' AND relnamespace = 'public'::regnamespace)

-- name: has_ledger
-- Whether the database has the ledger of migrations.
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema_migrations' AND relnamespace = to_regnamespace('ops'))

-- name: applied
-- The applied migrations in order: version and SHA-256.
SELECT version, sha256 FROM ops.schema_migrations ORDER BY version

-- name: has_role
-- Whether a role exists. It runs as a superuser, so it must not find an operator of the owner.
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) %(role)s::pg_catalog.name)

-- name: has_objects
-- Whether a role owns anything in this database; it runs with only pg_catalog in the search path.
SELECT EXISTS (SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
               WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = %(role)s::name
                 AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- name: backend_pid
-- The process of this session on the server.
SELECT pg_catalog.pg_backend_pid()

-- name: take_role
-- Take a role until the end of the transaction, if the login may: the login, and whether it is a user (null: it took the role).
SELECT session_user::text, CASE
    WHEN NOT pg_has_role(session_user, %(role)s::text,
                         CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)
        THEN pg_has_role(session_user, 'energy_forecast_app', 'USAGE')
    WHEN set_config('role', %(role)s::text, true) IS NULL THEN true END

-- name: try_lock
-- Take the lock of upgrades until the end of the transaction; false if another session has it.
SELECT pg_try_advisory_xact_lock(hashtext('energy_forecast schema'))

-- name: wait_for_lock
-- Wait for the lock of upgrades.
SELECT pg_advisory_xact_lock(hashtext('energy_forecast schema'))

-- name: lock_tables
-- Lock every table of the platform exclusively, or none if one is in use.
DO $$
DECLARE
    names text;
BEGIN
    SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid) INTO names FROM pg_class c
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relnamespace IN ('public'::regnamespace, to_regnamespace('ops'))
      AND pg_has_role(c.relowner, 'USAGE');
    EXECUTE 'LOCK TABLE ' || names || ' IN ACCESS EXCLUSIVE MODE NOWAIT';
END $$
