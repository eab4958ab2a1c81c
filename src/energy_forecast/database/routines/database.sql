/* What the login does, since the owner of the schema cannot. Privileges of the database itself, which neither a dump nor a copy by TEMPLATE carries along; so they are given anew
   after each upgrade, by the login: the owner of the schema does not own the database. A temporary table or function is
   a way to lead functions astray, so only who needs one may make it. */
DO $$
DECLARE
    open_to_all record;
    foreign_partition regclass;
BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
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
    /* Who may take an advisory lock may keep the platform waiting, and who may make a large object writes; both are for
       everybody unless a superuser takes it back. */
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        FOR open_to_all IN
            SELECT p.oid::regprocedure AS signature, p.proname LIKE '%advisory%' AS is_lock FROM pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(pg_(try_)?advisory_|lo_)'
              -- Only where it is not so yet: each is an entry of the audit log
              AND (EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
                   OR p.proname LIKE '%advisory%' AND EXISTS (
                       SELECT FROM unnest(ARRAY['owner', 'ingest', 'forecaster', 'operator']) role
                       WHERE NOT has_function_privilege('energy_forecast_' || role, p.oid, 'EXECUTE')))
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', open_to_all.signature);
            IF open_to_all.is_lock THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO energy_forecast_owner, energy_forecast_ingest,'
                               ' energy_forecast_forecaster, energy_forecast_operator', open_to_all.signature);
            END IF;
        END LOOP;
    END IF;
END $$;
