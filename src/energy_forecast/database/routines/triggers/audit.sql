/* What is audited, and how. All of it ENABLE ALWAYS: session_replication_role does not get around it. */
DO $$
DECLARE
    wanted record;
BEGIN
    -- Controlled tables: an entry a row
    FOR wanted IN
        SELECT * FROM (VALUES
            ('public.cities', 'INSERT OR UPDATE OR DELETE', ''),
            ('public.models', 'INSERT OR UPDATE OR DELETE', ''),
            ('public.model_artifacts', 'INSERT OR UPDATE OR DELETE', '''artifact'''),
            ('public.user_city_access', 'INSERT OR UPDATE OR DELETE', ''),
            ('public.model_promotions', 'INSERT OR UPDATE OR DELETE', ''),
            ('ops.retention_policies', 'INSERT OR UPDATE OR DELETE', ''),
            ('ops.retraining_policies', 'INSERT OR UPDATE OR DELETE', ''),
            ('ops.repairs', 'INSERT', ''),
            -- Append-only, but for retention, which must not go unseen
            ('public.model_metrics', 'DELETE', '')
        ) AS controlled (relation, events, arguments)
        WHERE to_regclass(controlled.relation) IS NOT NULL
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_row AFTER %s ON %s FOR EACH ROW'
            ' EXECUTE FUNCTION public.audit_trigger_func(%s)', wanted.events, wanted.relation, wanted.arguments);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row', wanted.relation);
    END LOOP;
    -- Bulk facts: an entry a statement. What revisions keep is digested, so a digest can be computed again later
    FOR wanted IN
        SELECT facts.*, event FROM (VALUES
            ('energy_consumption', 'timestamp', '30 days', 'c.timestamp',
                'c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata, c.available_at, c.interval_minutes'),
            ('weather_data', 'timestamp', '30 days', 'c.timestamp',
                'c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation, c.available_at, c.interval_minutes'),
            -- Written by the triggers that keep them, but retention deletes those of a month that goes
            ('energy_consumption_revisions', 'timestamp', '30 days', 'c.timestamp, c.available_at, c.created_at',
                'c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata, c.available_at, c.interval_minutes'),
            ('weather_data_revisions', 'timestamp', '30 days', 'c.timestamp, c.available_at, c.created_at',
                'c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation, c.available_at, c.interval_minutes'),
            ('weather_forecasts', 'issued_at', '1 day', 'c.issued_at, c.timestamp',
                'c.issued_at, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation'),
            ('prediction_vintages', 'issued_at', '1 day', 'c.issued_at, c.timestamp, c.run_id',
                'c.issued_at, c.timestamp, c.run_id, c.predicted_consumption, c.quantiles'),
            ('predictions', 'timestamp', '30 days', 'c.timestamp, c.model_id',
                'c.timestamp, c.model_id, c.run_id, c.issued_at, c.predicted_consumption, c.confidence_lower,'
                ' c.confidence_upper, c.confidence_level')
        ) AS facts (relation, block_column, block_unit, key, digested),
        unnest(ARRAY['insert', 'update', 'delete']) AS event
        WHERE event = 'delete' OR relation NOT LIKE '%\_revisions'
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER %s ON public.%I REFERENCING %s TABLE AS changed'
            ' FOR EACH STATEMENT EXECUTE FUNCTION public.%s',
            wanted.event, upper(wanted.event), wanted.relation,
            CASE wanted.event WHEN 'delete' THEN 'OLD' ELSE 'NEW' END,
            -- Values also come one by one: these have functions whose plans a session keeps
            CASE wanted.relation
                WHEN 'energy_consumption' THEN 'audit_consumption_func()'
                WHEN 'weather_data' THEN 'audit_weather_func()'
                ELSE format('audit_batch_func(%L, %L, %L, %L)',
                            wanted.block_column, wanted.block_unit, wanted.key, wanted.digested) END);
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER audit_%s', wanted.relation, wanted.event);
        -- Months that a load fills beside the table are named there, and digested in the same way
        CONTINUE WHEN wanted.event <> 'insert' OR wanted.relation NOT IN ('energy_consumption', 'weather_data');
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER INSERT ON ops.attached_months'
            ' REFERENCING NEW TABLE AS attached FOR EACH STATEMENT'
            ' EXECUTE FUNCTION public.audit_attached_func(%L, %L, %L, %L, %L)',
            wanted.relation, wanted.relation, wanted.block_column, wanted.block_unit, wanted.key, wanted.digested);
        EXECUTE format('ALTER TABLE ops.attached_months ENABLE ALWAYS TRIGGER audit_%s', wanted.relation);
    END LOOP;
    -- The log itself: rows come from triggers; the chain is closed at commit
    CREATE OR REPLACE TRIGGER from_triggers BEFORE INSERT ON public.audit_log FOR EACH ROW
        WHEN (CASE WHEN NEW.action IN ('DDL', 'DROP') THEN current_user <> 'energy_forecast_recorder'
                   ELSE pg_trigger_depth() = 0 END)
        EXECUTE FUNCTION public.refuse('entries are written by the audit triggers');
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER from_triggers;
    CREATE OR REPLACE TRIGGER stamp BEFORE INSERT ON public.audit_log FOR EACH ROW
        EXECUTE FUNCTION public.stamp_audit_entry();
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER stamp;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_log'::regclass AND tgname = 'chain') THEN
        CREATE CONSTRAINT TRIGGER chain AFTER INSERT ON public.audit_log DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.chain_audit_entries();
    END IF;
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER chain;
    CREATE OR REPLACE TRIGGER from_triggers BEFORE INSERT ON ops.audit_chain FOR EACH ROW
        WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION public.refuse('entries are chained by the trigger of audit_log');
    ALTER TABLE ops.audit_chain ENABLE ALWAYS TRIGGER from_triggers;
END $$;
