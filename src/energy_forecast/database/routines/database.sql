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
