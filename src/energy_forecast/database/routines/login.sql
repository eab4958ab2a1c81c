/* The login of daily commands on the embedded server: no superuser, so that a trigger or an operator of the owner never
   runs as one. It inherits nothing and takes the role that a command needs; with CREATEROLE and ADMIN OPTION it adds users.
   Runs as the server's superuser; on another server the DBA decides who logs in (docs/howto/own-server.md). */
DO $$
DECLARE
    platform text;
    person record;
    has_options boolean := current_setting('server_version_num')::integer >= 160000;
BEGIN
    IF session_user <> 'energy_forecast_admin' THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_login') THEN
        BEGIN
            CREATE ROLE energy_forecast_login LOGIN NOINHERIT CREATEROLE;
            COMMENT ON ROLE energy_forecast_login IS 'Daily commands log in as this role, and take the role that they need';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- Another database of this server was upgraded at the same time, and made it first
        END;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_login' AND rolcanlogin AND rolcreaterole
                   AND NOT (rolinherit OR rolsuper OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
        ALTER ROLE energy_forecast_login LOGIN NOINHERIT CREATEROLE NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS;
    END IF;
    FOREACH platform IN ARRAY ARRAY['owner', 'ingest', 'forecaster', 'operator', 'auditor'] LOOP
        IF NOT pg_has_role('energy_forecast_login', 'energy_forecast_' || platform,
                           CASE WHEN has_options THEN 'SET' ELSE 'MEMBER' END) THEN
            EXECUTE format('GRANT energy_forecast_%s TO energy_forecast_login', platform);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = 'energy_forecast_app'::regrole
                   AND member = 'energy_forecast_login'::regrole AND admin_option) THEN
        EXECUTE 'GRANT energy_forecast_app TO energy_forecast_login WITH ADMIN '
            || CASE WHEN has_options THEN 'TRUE, INHERIT FALSE, SET FALSE' ELSE 'OPTION' END;
    END IF;
    /* Users whom `user add` made in the name of somebody else. From 16 on only the role that granted a membership can
       take it back, so it is granted again in the name of this one. The API may take the role of each of them; a login that a
       DBA made is none of them, and stays as it is. */
    FOR person IN
        SELECT r.oid, r.rolname FROM pg_roles r
        WHERE has_options AND r.rolname !~ '^energy_forecast_' AND NOT r.rolsuper AND EXISTS (
            SELECT FROM pg_auth_members m WHERE m.roleid = 'energy_forecast_app'::regrole AND m.member = r.oid
              AND m.grantor <> 'energy_forecast_login'::regrole)
          AND EXISTS (SELECT FROM pg_auth_members WHERE roleid = r.oid AND member = 'energy_forecast_api'::regrole)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = person.oid
                       AND member = 'energy_forecast_login'::regrole AND admin_option) THEN
            EXECUTE format('GRANT %I TO energy_forecast_login WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', person.rolname);
        END IF;
        EXECUTE format('REVOKE energy_forecast_app FROM %1$I; REVOKE %1$I FROM energy_forecast_api;'
                       'GRANT energy_forecast_app TO %1$I GRANTED BY energy_forecast_login;'
                       'GRANT %1$I TO energy_forecast_api GRANTED BY energy_forecast_login', person.rolname);
    END LOOP;
END $$;
