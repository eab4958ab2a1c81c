-- name: has_version
-- Whether a schema was ever installed.
SELECT to_regclass('public.alembic_version') IS NOT NULL

-- name: routines_are
-- Whether the routines in the database have this SHA-256.
SELECT obj_description(to_regnamespace('ops'), 'pg_namespace') LIKE '%%' || %(digest)s::text

-- name: version
-- The version of the schema.
SELECT version_num FROM public.alembic_version

-- name: has_role
-- Whether a role exists. It runs as a superuser, so it must not find an operator of the owner.
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) %(role)s::pg_catalog.name)

-- name: has_objects
-- Whether a role owns anything in this database; it runs with only pg_catalog in the search path.
SELECT EXISTS (SELECT FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid
               WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = %(role)s::name
                 AND d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()))

-- name: may_take
-- Whether the login may SET ROLE to a role.
SELECT pg_has_role(session_user, %(role)s::text,
                   CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END)

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
