/* Rules for every role, including plain statements of the owner. Retention drops whole months, which is DDL, and deletes
   from predictions, model_metrics, rejected rows and the revisions of those months, which is audited. */
DO $$
DECLARE
    target record;
BEGIN
    FOR target IN
        SELECT c.oid::regclass AS relation, coalesce(guarded.events, 'TRUNCATE') AS events FROM pg_class c LEFT JOIN (VALUES
            ('public.prediction_vintages', 'UPDATE OR DELETE OR TRUNCATE'),
            ('public.weather_forecasts', 'UPDATE OR DELETE OR TRUNCATE'),
            ('public.energy_consumption_revisions', 'UPDATE OR TRUNCATE'),
            ('public.weather_data_revisions', 'UPDATE OR TRUNCATE'),
            ('public.forecast_runs', 'UPDATE OR DELETE OR TRUNCATE'),
            ('public.forecast_scores', 'UPDATE OR DELETE OR TRUNCATE'),
            ('public.model_artifacts', 'UPDATE OR DELETE OR TRUNCATE'),
            ('public.model_metrics', 'UPDATE OR TRUNCATE'),
            ('public.audit_log', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.audit_chain', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.ingest_batches', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.rejected_rows', 'UPDATE OR TRUNCATE'),
            ('ops.http_loads', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.attached_months', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.backups', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.restore_points', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.recovery_checks', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.dropped_data', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.repairs', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.fact_baselines', 'UPDATE OR DELETE OR TRUNCATE'),
            ('ops.schema_migrations', 'UPDATE OR DELETE OR TRUNCATE'),
            -- A started step may be updated once, when it ends
            ('ops.maintenance_runs', 'DELETE OR TRUNCATE'),
            ('ops.run_requests', 'DELETE OR TRUNCATE')
        ) AS guarded (relation, events) ON to_regclass(guarded.relation) = c.oid
        -- Other tables are not append-only, but TRUNCATE would bypass the audit; they are found in the catalog, so a new
        -- table needs no entry here
        WHERE c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) AND c.relkind IN ('r', 'p')
          AND NOT c.relispartition AND c.relowner = 'energy_forecast_owner'::regrole
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER append_only BEFORE %s ON %s FOR EACH STATEMENT'
            ' EXECUTE FUNCTION public.reject_change(%L)', target.events, target.relation,
            CASE target.events WHEN 'TRUNCATE' THEN 'it would not be audited' ELSE 'rows here are never changed' END);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', target.relation);
    END LOOP;

    CREATE OR REPLACE TRIGGER finished_once BEFORE UPDATE ON ops.maintenance_runs FOR EACH ROW
        WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION public.reject_change('a run that has finished is never changed');
    ALTER TABLE ops.maintenance_runs ENABLE ALWAYS TRIGGER finished_once;

    CREATE OR REPLACE TRIGGER finished_once BEFORE UPDATE ON ops.run_requests FOR EACH ROW
        WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION public.reject_change('a run that has finished is never changed');
    ALTER TABLE ops.run_requests ENABLE ALWAYS TRIGGER finished_once;

    /* created_at must be the time of the transaction, for every role. The tables are found by their column, so a new table
       needs no entry here. audit_batch_func checks bulk facts in one pass; a revision has the created_at of the old value.
       The condition is cheap, so a valid row costs almost nothing. */
    FOR target IN
        SELECT c.oid::regclass AS relation FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) AND c.relkind = 'r' AND NOT c.relispartition
          AND a.attname = 'created_at' AND NOT a.attisdropped AND c.relname NOT LIKE '%\_revisions'
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER created_at_is_now BEFORE INSERT ON %s FOR EACH ROW'
            ' WHEN (NEW.created_at IS DISTINCT FROM CURRENT_TIMESTAMP)'
            ' EXECUTE FUNCTION public.reject_change(%L)', target.relation, 'created_at is set by the database');
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER created_at_is_now', target.relation);
        EXECUTE format('CREATE OR REPLACE TRIGGER created_at_is_kept BEFORE UPDATE ON %s FOR EACH ROW'
            ' WHEN (NEW.created_at IS DISTINCT FROM OLD.created_at)'
            ' EXECUTE FUNCTION public.reject_change(%L)', target.relation, 'created_at is set by the database');
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER created_at_is_kept', target.relation);
    END LOOP;
    FOR target IN
        SELECT unnest(ARRAY['energy_consumption_revisions', 'weather_data_revisions']) AS relation
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER created_at_is_now BEFORE INSERT ON public.%I FOR EACH ROW'
            ' WHEN (NEW.superseded_at IS DISTINCT FROM CURRENT_TIMESTAMP OR NEW.created_at > CURRENT_TIMESTAMP'
            '       OR NEW.created_at IS DISTINCT FROM CURRENT_TIMESTAMP AND pg_trigger_depth() = 0)'
            ' EXECUTE FUNCTION public.reject_change(%L)', target.relation, 'created_at is set by the database');
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER created_at_is_now', target.relation);
    END LOOP;

    /* created_at of these tables must be accurate to the minute, or determines the champion at a time, so a transaction may not
       stay open until the load is known. A promotion first compares backtests of every city and has a longer limit. */
    FOR target IN
        SELECT * FROM (VALUES ('forecast_runs', '15 minutes'), ('model_promotions', '3 hours')) AS prompt (relation, most)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = format('public.%I', target.relation)::regclass
                       AND tgname = 'prompt_commit') THEN
            EXECUTE format('CREATE CONSTRAINT TRIGGER prompt_commit AFTER INSERT ON public.%I DEFERRABLE INITIALLY DEFERRED'
                ' FOR EACH ROW EXECUTE FUNCTION public.check_prompt_commit(%L)', target.relation, target.most);
        END IF;
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER prompt_commit', target.relation);
    END LOOP;
    CREATE OR REPLACE TRIGGER trained_before BEFORE INSERT ON public.forecast_runs FOR EACH ROW
        EXECUTE FUNCTION public.check_new_run();
    ALTER TABLE public.forecast_runs ENABLE ALWAYS TRIGGER trained_before;
    -- A score with a period that no program reads, such as infinity, would stop every check of scores
    CREATE OR REPLACE TRIGGER real_period BEFORE INSERT ON public.forecast_scores FOR EACH ROW
        WHEN (NEW.period_start < '1970-01-01 00:00:00+00' OR NEW.period_end > CURRENT_TIMESTAMP + interval '8 days'
              OR NEW.actuals_as_of < '1970-01-01 00:00:00+00' OR NEW.actuals_as_of > CURRENT_TIMESTAMP + interval '1 day')
        EXECUTE FUNCTION public.reject_change('its period or actuals_as_of is before 1970 or in the future');
    ALTER TABLE public.forecast_scores ENABLE ALWAYS TRIGGER real_period;
    CREATE OR REPLACE TRIGGER with_their_run AFTER INSERT ON public.prediction_vintages REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION public.check_new_vintages('15 minutes');
    ALTER TABLE public.prediction_vintages ENABLE ALWAYS TRIGGER with_their_run;
    CREATE OR REPLACE TRIGGER current_forecasts AFTER INSERT ON public.prediction_vintages REFERENCING NEW TABLE AS added
        FOR EACH STATEMENT EXECUTE FUNCTION public.write_current_forecasts();
    ALTER TABLE public.prediction_vintages ENABLE ALWAYS TRIGGER current_forecasts;
    CREATE OR REPLACE TRIGGER from_vintages BEFORE INSERT OR UPDATE OR DELETE ON public.predictions FOR EACH STATEMENT
        WHEN (current_user <> 'energy_forecast_owner')
        EXECUTE FUNCTION public.reject_change('the database writes the current forecast from prediction_vintages');
    ALTER TABLE public.predictions ENABLE ALWAYS TRIGGER from_vintages;
    /* An earlier issue that proved best must not become the current one afterwards. Not a trigger for each row, which would
       lock each row before its update and write a fifth of the WAL of a forecast. */
    CREATE OR REPLACE TRIGGER later_issue AFTER UPDATE ON public.predictions
        REFERENCING OLD TABLE AS replaced NEW TABLE AS changed
        FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION public.check_later_issue();
    ALTER TABLE public.predictions ENABLE ALWAYS TRIGGER later_issue;

    FOR target IN
        SELECT c.oid::regclass AS relation FROM pg_class c
        WHERE c.relispartition AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'through_parent' AND t.tgenabled = 'A')
    LOOP
        PERFORM public.guard_partition(target.relation);
    END LOOP;
END $$;
