/* The audit triggers. All are ENABLE ALWAYS, so session_replication_role does not disable them. */
DO $$
DECLARE
    target record;
BEGIN
    -- Controlled tables: one entry per row, so that the last entry of a row must equal the stored row
    FOR target IN
        SELECT * FROM (VALUES
            ('public.cities', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('public.models', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('public.model_artifacts', 'INSERT OR UPDATE OR DELETE', '', '''artifact''',
                'c.model_id, c.city_id, c.sha256, c.training_digest, c.training_facts, c.created_at'),
            ('public.user_city_access', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('public.model_promotions', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            -- Append-only. Only live runs are evidence; notes are excluded because of their length
            ('public.forecast_runs', 'INSERT', 'WHEN (NEW.purpose = ''live'')', '''notes'', ''fallback_levels'', ''assumptions''',
                'c.id, c.model_id, c.purpose, c.issued_at, c.horizon, c.weather, c.interval_minutes, c.quantile_levels, c.status, c.created_at'),
            ('ops.api_keys', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('ops.sessions', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('ops.webhooks', 'INSERT OR UPDATE OR DELETE', '', '''secret''',
                'c.id, c.user_name, c.url, c.allow_private, c.created_at, c.created_by'),
            ('ops.retention_policies', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('ops.retraining_policies', 'INSERT OR UPDATE OR DELETE', '', '', 'c.*'),
            ('ops.repairs', 'INSERT', '', '', 'c.*'),
            -- Append-only except for retention, which must be audited
            ('public.model_metrics', 'DELETE', '', '', NULL)
        ) AS controlled (relation, events, condition, arguments, columns)
        WHERE to_regclass(controlled.relation) IS NOT NULL
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_row AFTER %s ON %s FOR EACH ROW %s'
            ' EXECUTE FUNCTION public.audit_trigger_func(%s)',
            target.events, target.relation, target.condition, target.arguments);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_row', target.relation);
        CONTINUE WHEN target.columns IS NULL;
        EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER INSERT ON ops.fact_baselines FOR EACH ROW'
            ' WHEN (NEW.table_name = %L) EXECUTE FUNCTION public.audit_stored_rows_func(%L, %L, %L)',
            'audit_' || replace(replace(target.relation, 'public.', ''), '.', '_'), replace(target.relation, 'public.', ''),
            target.relation, target.columns,
            CASE target.relation WHEN 'public.forecast_runs' THEN 'c.purpose = ''live''' ELSE 'true' END);
        EXECUTE format('ALTER TABLE ops.fact_baselines ENABLE ALWAYS TRIGGER %I',
            'audit_' || replace(replace(target.relation, 'public.', ''), '.', '_'));
    END LOOP;
    -- Bulk facts: one entry per statement. Every column except `id`, so that the checksums show any change
    FOR target IN
        SELECT facts.*, event FROM (VALUES
            ('energy_consumption', 'timestamp',
                'c.city_id, c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata,'
                ' c.created_at, c.available_at, c.interval_minutes'),
            ('weather_data', 'timestamp',
                'c.city_id, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation,'
                ' c.created_at, c.available_at, c.interval_minutes'),
            ('energy_consumption_revisions', 'timestamp',
                'c.city_id, c.timestamp, c.consumption_kwh, c.peak_demand_kw, c.metadata,'
                ' c.created_at, c.available_at, c.interval_minutes, c.superseded_at'),
            ('weather_data_revisions', 'timestamp',
                'c.city_id, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation,'
                ' c.created_at, c.available_at, c.interval_minutes, c.superseded_at'),
            ('weather_forecasts', 'issued_at',
                'c.city_id, c.issued_at, c.timestamp, c.temperature, c.humidity, c.wind_speed, c.precipitation, c.created_at'),
            ('prediction_vintages', 'issued_at',
                'c.city_id, c.issued_at, c.first_timestamp, c.last_timestamp, c.run_id, c.model_id, c.interval_minutes,'
                ' c.quantile_count, c.predicted_consumption, c.quantiles, c.created_at'),
            ('predictions', 'timestamp',
                'c.city_id, c.timestamp, c.model_id, c.run_id, c.issued_at, c.predicted_consumption, c.confidence_lower,'
                ' c.confidence_upper, c.confidence_level')
        ) AS facts (relation, block_column, hashed), unnest(ARRAY['insert', 'update', 'delete']) AS event
        WHERE event <> 'update' OR relation NOT LIKE '%\_revisions'
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER %s ON public.%I REFERENCING %s'
            ' FOR EACH STATEMENT %s EXECUTE FUNCTION public.%s',
            target.event, upper(target.event), target.relation,
            CASE target.event WHEN 'insert' THEN 'NEW TABLE AS changed' WHEN 'delete' THEN 'OLD TABLE AS replaced'
                ELSE 'OLD TABLE AS replaced NEW TABLE AS changed' END,
            -- The database writes current forecasts from vintages, which are audited
            CASE target.relation WHEN 'predictions' THEN 'WHEN (pg_trigger_depth() = 0)' ELSE '' END,
            -- Values may also arrive one at a time: these tables have functions whose plans a session caches
            CASE target.relation
                WHEN 'energy_consumption' THEN 'audit_consumption_func()'
                WHEN 'weather_data' THEN 'audit_weather_func()'
                WHEN 'energy_consumption_revisions' THEN 'audit_consumption_revision_func()'
                WHEN 'weather_data_revisions' THEN 'audit_weather_revision_func()'
                ELSE format('audit_batch_func(%L, %L)', target.block_column, target.hashed) END);
        EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER audit_%s', target.relation, target.event);
        -- Current forecasts are replaced and move between partitions, so there is no baseline to compare with
        CONTINUE WHEN target.event <> 'insert' OR target.relation = 'predictions';
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER INSERT ON ops.fact_baselines FOR EACH ROW'
            ' WHEN (NEW.table_name = %L) EXECUTE FUNCTION public.audit_stored_func(%L, %L, %L)',
            target.relation, target.relation, target.relation, target.block_column, target.hashed);
        EXECUTE format('ALTER TABLE ops.fact_baselines ENABLE ALWAYS TRIGGER audit_%s', target.relation);
        CONTINUE WHEN target.relation LIKE '%\_revisions';
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER INSERT ON ops.dropped_data FOR EACH ROW'
            ' WHEN (NEW.table_name = %L AND NEW.partition_name IS NOT NULL)'
            ' EXECUTE FUNCTION public.audit_stored_func(%L, %L, %L)',
            target.relation, target.relation, target.relation, target.block_column, target.hashed);
        EXECUTE format('ALTER TABLE ops.dropped_data ENABLE ALWAYS TRIGGER audit_%s', target.relation);
        -- Months that a batch fills before attaching them are recorded there, and summed in the same way
        CONTINUE WHEN target.relation NOT IN ('energy_consumption', 'weather_data');
        EXECUTE format('CREATE OR REPLACE TRIGGER audit_%s AFTER INSERT ON ops.attached_months'
            ' REFERENCING NEW TABLE AS attached FOR EACH STATEMENT'
            ' EXECUTE FUNCTION public.audit_attached_func(%L, %L, %L)',
            target.relation, target.relation, target.block_column, target.hashed);
        EXECUTE format('ALTER TABLE ops.attached_months ENABLE ALWAYS TRIGGER audit_%s', target.relation);
    END LOOP;
    -- The log itself: only triggers insert entries; the chain is extended at commit
    CREATE OR REPLACE TRIGGER from_triggers BEFORE INSERT ON public.audit_log FOR EACH ROW
        WHEN (CASE WHEN NEW.action IN ('DDL', 'DROP') THEN current_user <> 'energy_forecast_recorder'
                   ELSE pg_trigger_depth() = 0 END)
        EXECUTE FUNCTION public.reject_change('entries are written by the audit triggers');
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER from_triggers;
    CREATE OR REPLACE TRIGGER set_author BEFORE INSERT ON public.audit_log FOR EACH ROW
        EXECUTE FUNCTION public.set_audit_author();
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER set_author;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'public.audit_log'::regclass AND tgname = 'chain') THEN
        CREATE CONSTRAINT TRIGGER chain AFTER INSERT ON public.audit_log DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.chain_audit_entries();
    END IF;
    ALTER TABLE public.audit_log ENABLE ALWAYS TRIGGER chain;
    CREATE OR REPLACE TRIGGER from_triggers BEFORE INSERT ON ops.audit_chain FOR EACH ROW
        WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION public.reject_change('entries are chained by the trigger of audit_log');
    ALTER TABLE ops.audit_chain ENABLE ALWAYS TRIGGER from_triggers;
END $$;
