-- Roles, schemas, extensions, and the ledger of migrations. Runs as the login; later files run as the owner

/* Privileges depend on roles. Only the API logs in as one of these; users and the command line are members and SET
   ROLE. Roles belong to the whole server, so another database on it may have created them already. */
DO $$
DECLARE
    platform_role record;
BEGIN
    FOR platform_role IN
        SELECT * FROM (VALUES
            ('energy_forecast_owner',      'NOLOGIN',           'Owns every object of the platform'),
            ('energy_forecast_app',        'NOLOGIN',           'Users, who read the cities granted to them'),
            ('energy_forecast_ingest',     'NOLOGIN',           'Loads facts: inserts and corrects, deletes nothing'),
            ('energy_forecast_forecaster', 'NOLOGIN',           'Trains, forecasts and scores; reads history only as of a time'),
            ('energy_forecast_operator',   'NOLOGIN',           'Maintenance and backup'),
            ('energy_forecast_auditor',    'NOLOGIN',           'Reads ledgers and logs'),
            ('energy_forecast_api',        'LOGIN NOINHERIT',   'The API; each request takes the role of its user')
        ) AS roles (name, attributes, purpose)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = platform_role.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I %s', platform_role.name, platform_role.attributes);
                EXECUTE format('COMMENT ON ROLE %I IS %L', platform_role.name, platform_role.purpose);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- A concurrent upgrade of another database of this server created it first
            END;
        END IF;
        -- A superuser may take any role; another login that upgrades the schema must be a member. Since version 16
        -- the creator of a role is a member, but may not SET ROLE to it.
        IF NOT pg_has_role(current_user, platform_role.name,
                           CASE WHEN current_setting('server_version_num')::integer >= 160000
                                THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT %I TO %I', platform_role.name, current_user);
        END IF;
    END LOOP;
    -- A backup must see every row of every partition. Only a superuser can grant this.
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        -- Only if it is missing: two databases may be upgraded concurrently, and share the roles
        IF NOT (SELECT rolbypassrls FROM pg_roles WHERE rolname = 'energy_forecast_operator') THEN
            ALTER ROLE energy_forecast_operator BYPASSRLS;
        END IF;
        GRANT pg_read_all_data TO energy_forecast_operator;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO energy_forecast_owner', current_database());
END $$;

GRANT CREATE, USAGE ON SCHEMA public TO energy_forecast_owner;

/* Extensions have their own schema: names qualified with `ext` are found with any search path, also by pg_restore.
   earthdistance requires a superuser, who may have created both before for another login. */
CREATE SCHEMA IF NOT EXISTS ext AUTHORIZATION energy_forecast_owner;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS cube SCHEMA ext;
CREATE EXTENSION IF NOT EXISTS earthdistance SCHEMA ext;
DO $$
BEGIN
    IF NOT has_schema_privilege('public', 'ext', 'USAGE') THEN
        GRANT USAGE ON SCHEMA ext TO PUBLIC;
    END IF;
    IF (SELECT nspowner = 'energy_forecast_owner'::regrole FROM pg_namespace WHERE nspname = 'ext') THEN
        COMMENT ON SCHEMA ext IS 'Extensions: btree_gist, cube and earthdistance';
    END IF;
END $$;

-- The comment of this schema is the version of the whole schema, which every login can read
CREATE SCHEMA ops AUTHORIZATION energy_forecast_owner;

SET LOCAL ROLE energy_forecast_owner;
CREATE TABLE ops.schema_migrations (
    version    TEXT PRIMARY KEY,
    sha256     TEXT NOT NULL,
    applied_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.schema_migrations IS
    'One row per applied migration. `db upgrade` refuses a database whose rows differ from its files. Append-only';
COMMENT ON COLUMN ops.schema_migrations.version IS 'Number of the file';
COMMENT ON COLUMN ops.schema_migrations.sha256 IS 'SHA-256 of the file, in hexadecimal digits';
RESET ROLE;
