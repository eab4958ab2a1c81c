/* The login of daily commands on the embedded server. It is not a superuser, so that a trigger or operator of the owner
   never runs as one. It inherits nothing and takes the role that a command needs; with CREATEROLE and ADMIN OPTION it adds
   users. This script runs as the server's superuser; on other servers the DBA decides on logins (docs/howto/own-server.md). */
DO $$
DECLARE
    platform text;
    user_role record;
    has_options boolean := current_setting('server_version_num')::integer >= 160000;
BEGIN
    IF session_user <> 'energy_forecast_admin' THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_login') THEN
        BEGIN
            CREATE ROLE energy_forecast_login LOGIN NOINHERIT CREATEROLE;
            COMMENT ON ROLE energy_forecast_login IS 'Login of daily commands, which then take the role that they need';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- A concurrent upgrade of another database of this server created it first
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
    /* Users that `user add` created as another role. Since version 16 only the role that granted a membership can revoke it, so
       it is granted again by this login. The API may take the role of each of these users; a login created by a DBA is not
       among them and is not changed. */
    FOR user_role IN
        SELECT r.oid, r.rolname FROM pg_roles r
        WHERE has_options AND r.rolname !~ '^energy_forecast_' AND NOT r.rolsuper AND EXISTS (
            SELECT FROM pg_auth_members m WHERE m.roleid = 'energy_forecast_app'::regrole AND m.member = r.oid
              AND m.grantor <> 'energy_forecast_login'::regrole)
          AND EXISTS (SELECT FROM pg_auth_members WHERE roleid = r.oid AND member = 'energy_forecast_api'::regrole)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = user_role.oid
                       AND member = 'energy_forecast_login'::regrole AND admin_option) THEN
            EXECUTE format('GRANT %I TO energy_forecast_login WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', user_role.rolname);
        END IF;
        EXECUTE format('REVOKE energy_forecast_app FROM %1$I; REVOKE %1$I FROM energy_forecast_api;'
                       'GRANT energy_forecast_app TO %1$I GRANTED BY energy_forecast_login;'
                       'GRANT %1$I TO energy_forecast_api GRANTED BY energy_forecast_login', user_role.rolname);
    END LOOP;
END $$;
