/* Privileges of the database itself, which neither a dump nor a copy by TEMPLATE contains. The login grants them after each
   upgrade, because the owner of the schema does not own the database. Temporary tables and functions can redirect names in
   functions, so only roles that need them may create them. */
DO $$
DECLARE
    open_to_all record;
    foreign_partition regclass;
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO energy_forecast_owner', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO energy_forecast_owner, energy_forecast_ingest,'
                   ' energy_forecast_forecaster', current_database());
    -- A partition created by hand belongs to the platform once it is attached
    FOR foreign_partition IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.relowner = 'energy_forecast_owner'::regrole AND c.relowner <> p.relowner AND c.relkind = 'r'
          AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO energy_forecast_owner', foreign_partition);
    END LOOP;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        /* Costly functions without table access that PostgreSQL grants to PUBLIC: an advisory lock can block the platform,
           large objects and logical messages write without limit, an exported snapshot creates a file. Each change is an
           entry of the audit log, so it is made only if it is missing. */
        FOR open_to_all IN
            SELECT p.oid::regprocedure AS signature, f.users
            FROM pg_proc p JOIN LATERAL (SELECT CASE
                WHEN p.proname ~ '^pg_(try_)?advisory_' THEN ARRAY['owner', 'ingest', 'forecaster', 'operator']
                WHEN p.proname = 'pg_export_snapshot' THEN ARRAY['operator']
                WHEN p.proname ~ '^(lo_.*|loread|lowrite|pg_logical_emit_message)$' THEN '{}'::text[] END) AS f (users)
                ON f.users IS NOT NULL
            WHERE p.pronamespace = 'pg_catalog'::regnamespace
              AND (EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
                   OR EXISTS (SELECT FROM unnest(f.users) role
                              WHERE NOT has_function_privilege('energy_forecast_' || role, p.oid, 'EXECUTE')))
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', open_to_all.signature);
            IF open_to_all.users <> '{}' THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO energy_forecast_%s', open_to_all.signature,
                               array_to_string(open_to_all.users, ', energy_forecast_'));
            END IF;
        END LOOP;
        /* PostgreSQL applies a leakproof operator before a policy, as an index condition and for estimates from the
           statistics of all rows. EXPLAIN then shows whether a value of another city exists. So only the operators for
           cities by id and rows by time stay leakproof; for uuid only equality, because ids can be found by ordered
           comparison but not by guessing. */
        FOR open_to_all IN
            SELECT p.oid::regprocedure AS signature FROM pg_proc p
            WHERE p.proleakproof AND p.pronamespace = 'pg_catalog'::regnamespace
              AND EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
              AND p.proname !~ '^(timestamptz_(eq|ne|lt|le|gt|ge)|uuid_(eq|ne))$'
        LOOP
            EXECUTE format('ALTER FUNCTION %s NOT LEAKPROOF', open_to_all.signature);
        END LOOP;
        -- A privilege of the server: a backup restored on another server has the role (bulk_insert.sql) without it
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_loader')
           AND NOT has_parameter_privilege('energy_forecast_loader', 'session_replication_role', 'SET') THEN
            GRANT SET ON PARAMETER session_replication_role TO energy_forecast_loader;
        END IF;
    END IF;
END $$;
/* Costs of statements, if the server collects them. The operator reads them, users do not: by default every role sees the
   number of calls and rows of every statement of other roles. Each change is an entry of the audit log, so it is made only
   if it is missing. A login that may not create the extension continues without it. */
DO $$
DECLARE
    place text;
BEGIN
    -- A restore runs this before the dump, which contains the schema and the extension
    IF to_regnamespace('ext') IS NULL
       OR NOT EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max')
       OR NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements') THEN
        CREATE EXTENSION pg_stat_statements SCHEMA ext;
    END IF;
    SELECT extnamespace::regnamespace::text INTO place FROM pg_extension WHERE extname = 'pg_stat_statements';
    IF EXISTS (SELECT FROM pg_class c, aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
               WHERE c.oid = to_regclass(format('%s.pg_stat_statements', place)) AND a.grantee = 0)
       OR NOT has_table_privilege('energy_forecast_operator', format('%s.pg_stat_statements', place), 'SELECT') THEN
        EXECUTE format('REVOKE ALL ON %1$s.pg_stat_statements, %1$s.pg_stat_statements_info FROM PUBLIC', place);
        EXECUTE format('REVOKE ALL ON FUNCTION %1$s.pg_stat_statements(boolean), %1$s.pg_stat_statements_info() FROM PUBLIC',
                       place);
        EXECUTE format('GRANT SELECT ON %1$s.pg_stat_statements, %1$s.pg_stat_statements_info TO energy_forecast_operator',
                       place);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %1$s.pg_stat_statements(boolean), %1$s.pg_stat_statements_info()'
                       ' TO energy_forecast_operator', place);
    END IF;
    IF NOT pg_has_role('energy_forecast_operator', 'pg_read_all_stats', 'MEMBER') THEN
        GRANT pg_read_all_stats TO energy_forecast_operator;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        NULL;  -- `doctor queries` explains what a superuser must do
    WHEN unique_violation THEN
        NULL;  -- A concurrent upgrade of another database of this server granted the membership first
END $$;
