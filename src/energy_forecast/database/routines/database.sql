/* What the login does, since the owner of the schema cannot. Privileges of the database itself, which neither a dump nor a copy by TEMPLATE carries along; so they are given anew
   after each upgrade, by the login: the owner of the schema does not own the database. A temporary table or function is
   a way to lead functions astray, so only who needs one may make it. */
DO $$
DECLARE
    open_to_all record;
    foreign_partition regclass;
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CREATE ON DATABASE %I TO energy_forecast_owner', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO energy_forecast_owner, energy_forecast_ingest,'
                   ' energy_forecast_forecaster', current_database());
    -- A partition that somebody made by hand, as the guide shows it, is the platform's as soon as it hangs on its table
    FOR foreign_partition IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.relowner = 'energy_forecast_owner'::regrole AND c.relowner <> p.relowner AND c.relkind = 'r'
          AND pg_has_role(c.relowner, 'USAGE')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO energy_forecast_owner', foreign_partition);
    END LOOP;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        /* Functions that cost without reading a table, which PostgreSQL opens to everybody: an advisory lock keeps the
           platform waiting, a large object and a logical message write without limit, an exported snapshot makes a file.
           Each change is an entry of the audit log, so it is made only where it is missing. */
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
        /* PostgreSQL applies a leakproof operator before a policy: as a condition of an index, and for estimates from
           statistics of all rows. EXPLAIN then shows whether a value of another city exists. So here only the operators
           that find a city by its id and rows by their time stay leakproof; uuid stays so for equality alone, since
           ids can be found by comparing, and not by guessing. */
        FOR open_to_all IN
            SELECT p.oid::regprocedure AS signature FROM pg_proc p
            WHERE p.proleakproof AND p.pronamespace = 'pg_catalog'::regnamespace
              AND EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
              AND p.proname !~ '^(timestamptz_(eq|ne|lt|le|gt|ge)|uuid_(eq|ne))$'
        LOOP
            EXECUTE format('ALTER FUNCTION %s NOT LEAKPROOF', open_to_all.signature);
        END LOOP;
        -- Of the server, too: a backup that is restored on another one brings the role (bulk_insert.sql) without it
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_loader')
           AND NOT has_parameter_privilege('energy_forecast_loader', 'session_replication_role', 'SET') THEN
            GRANT SET ON PARAMETER session_replication_role TO energy_forecast_loader;
        END IF;
    END IF;
END $$;
/* What statements cost, where the server collects it. The operator reads it and no person: by default everybody sees how
   often each statement of every other role was run, and how many rows it gave. Each change only where it is not so yet:
   it is an entry of the audit log. A login that may not make the extension goes on without. */
DO $$
DECLARE
    place text;
BEGIN
    -- A restore comes here before the dump, which has the schema and the extension
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
        NULL;  -- `doctor queries` says what a superuser has to do
    WHEN unique_violation THEN
        NULL;  -- Another database of this server was upgraded at the same time, and made the operator a member first
END $$;
