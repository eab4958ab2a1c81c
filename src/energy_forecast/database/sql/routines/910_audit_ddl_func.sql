/* Runs as the login that upgrades, not as the owner, because event triggers belong to superusers. Without a superuser,
   schema changes are not audited, which `energy-forecast doctor audit` reports.

   The function belongs to a separate role: the owner of the schema cannot replace it, and code that the owner could attach
   to audit_log would not run as a superuser. Only this role may write entries of schema changes. */
DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_recorder') THEN
        BEGIN
            CREATE ROLE energy_forecast_recorder NOLOGIN;
            COMMENT ON ROLE energy_forecast_recorder IS 'Writes schema changes into the audit log; has no members';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- A concurrent upgrade of another database of this server created it first
        END;
    END IF;
    GRANT INSERT, SELECT ON public.audit_log TO energy_forecast_recorder;
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'public.audit_log'::regclass AND polname = 'recorder') THEN
        CREATE POLICY recorder ON public.audit_log FOR ALL TO energy_forecast_recorder USING (true);
    END IF;
    /* Temporary tables are private to a session, and comments and refreshes do not change data. An upgrade and pg_restore
       create the event triggers last, so when this runs the log exists, or it was moved away by hand. */
    CREATE OR REPLACE FUNCTION public.audit_ddl_func() RETURNS event_trigger
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp
        AS $function$
    DECLARE
        entry record;
        written record;
        who name := coalesce(nullif(current_setting('role'), 'none'), session_user);
        log oid;
        log_and_chain oid[];
        digest text;
        statement jsonb;
    BEGIN
        SELECT array_agg(c.oid), max(c.oid) FILTER (WHERE c.relname = 'audit_log') INTO log_and_chain, log
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname, c.relname) IN (('public', 'audit_log'), ('ops', 'audit_chain')) AND c.relkind = 'r';
        IF cardinality(log_and_chain) IS DISTINCT FROM 2 OR log IS NULL THEN
            RAISE EXCEPTION '% is refused: nothing can be audited without audit_log and ops.audit_chain', TG_TAG
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        IF EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = ANY (log_and_chain)) THEN
            RAISE EXCEPTION '% is refused: a rule on the audit log could silence it', TG_TAG
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        FOR entry IN EXECUTE CASE TG_EVENT
            WHEN 'sql_drop' THEN
                'SELECT d.object_identity AS name, ''DROP'' AS action, $1 AS command, d.object_type AS type'
                ' FROM pg_event_trigger_dropped_objects() d WHERE d.original AND NOT d.is_temporary'
            WHEN 'table_rewrite' THEN
                'SELECT i.identity AS name, ''DDL'' AS action, $1 || '': every row is written again'' AS command, i.type'
                ' FROM pg_class c, LATERAL pg_identify_object(''pg_class''::regclass, c.oid, 0) i'
                ' WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND c.relpersistence <> ''t'' '
            ELSE
                'SELECT DISTINCT coalesce(d.object_identity, d.object_type) AS name, ''DDL'' AS action,'
                '       d.command_tag AS command, d.object_type AS type'
                ' FROM pg_event_trigger_ddl_commands() d'
                ' WHERE d.schema_name IS DISTINCT FROM ''pg_temp'' AND NOT d.in_extension'
                '   AND d.command_tag NOT IN (''COMMENT'', ''REFRESH MATERIALIZED VIEW'')'
            END USING TG_TAG
        LOOP
            -- The whole text, because its end may matter; in a script with many changes only the first entry has it. Here and
            -- not above, because pg_restore refreshes a view before this role has its privileges
            IF statement IS NULL THEN
                digest := encode(sha256(convert_to(current_query(), 'UTF8')), 'hex');
                statement := jsonb_build_object('query_sha256', digest);
                IF NOT EXISTS (SELECT FROM public.audit_log a
                               WHERE a.transaction_id = pg_current_xact_id() AND a.action IN ('DDL', 'DROP')
                                 AND coalesce(a.new_data, a.old_data) ->> 'query_sha256' = digest
                                 AND coalesce(a.new_data, a.old_data) ? 'query') THEN
                    statement := statement || jsonb_build_object(
                        'query', left(btrim(regexp_replace(current_query(), '\s+', ' ', 'g')), 100000));
                END IF;
            END IF;
            INSERT INTO public.audit_log AS a (table_name, action, old_data, new_data, user_name)
            SELECT entry.name, entry.action, CASE entry.action WHEN 'DROP' THEN f.facts END,
                   CASE entry.action WHEN 'DDL' THEN f.facts END, who
            FROM (SELECT jsonb_build_object('type', entry.type, 'command', entry.command) || statement) AS f (facts)
            RETURNING a.table_name, a.action, a.user_name, a.session_user_name, a.timestamp INTO written;
            statement := statement - 'query';
            -- No row or a different one: another trigger suppressed or changed it
            IF to_jsonb(written) IS DISTINCT FROM jsonb_build_object('table_name', entry.name, 'action', entry.action,
                'user_name', who, 'session_user_name', session_user, 'timestamp', now()) THEN
                RAISE EXCEPTION '% is refused: its entry was not written to the audit log', TG_TAG
                    USING ERRCODE = 'integrity_constraint_violation';
            END IF;
        END LOOP;
    END $function$;
    ALTER FUNCTION public.audit_ddl_func() OWNER TO energy_forecast_recorder;
    REVOKE ALL ON FUNCTION public.audit_ddl_func() FROM PUBLIC;
    -- grants.sql revokes privileges on all functions as the owner, which fails on a function without privileges of the owner
    GRANT EXECUTE ON FUNCTION public.audit_ddl_func() TO energy_forecast_owner;
    COMMENT ON FUNCTION public.audit_ddl_func() IS 'Writes a schema change into audit_log, or rejects it';
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'energy_forecast_audit_ddl') THEN
        CREATE EVENT TRIGGER energy_forecast_audit_ddl ON ddl_command_end EXECUTE FUNCTION public.audit_ddl_func();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'energy_forecast_audit_drop') THEN
        CREATE EVENT TRIGGER energy_forecast_audit_drop ON sql_drop EXECUTE FUNCTION public.audit_ddl_func();
    END IF;
    -- ALTER TABLE ... USING changes rows without firing triggers of the table
    IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'energy_forecast_audit_rewrite') THEN
        CREATE EVENT TRIGGER energy_forecast_audit_rewrite ON table_rewrite EXECUTE FUNCTION public.audit_ddl_func();
    END IF;
    ALTER EVENT TRIGGER energy_forecast_audit_ddl ENABLE ALWAYS;
    ALTER EVENT TRIGGER energy_forecast_audit_rewrite ENABLE ALWAYS;
    ALTER EVENT TRIGGER energy_forecast_audit_drop ENABLE ALWAYS;
END $$;
