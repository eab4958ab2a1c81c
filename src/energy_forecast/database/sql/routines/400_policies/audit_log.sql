/* Users have no privilege on the log. If one is ever granted, they see only entries that concern exclusively their own
   cities, and no entries without a city. */
DO $$
BEGIN
    -- Created once and first: without it nothing could be audited, not even its own creation
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = 'public.audit_log'::regclass AND polname = 'platform') THEN
        CREATE POLICY platform ON audit_log FOR ALL TO energy_forecast_owner, energy_forecast_ingest,
            energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor USING (true);
    END IF;
END $$;
ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS city_access ON audit_log;
CREATE POLICY city_access ON audit_log FOR SELECT TO energy_forecast_app
    USING (city_ids <> '{}' AND city_ids <@ ARRAY(
        SELECT a.city_id FROM public.user_city_access a WHERE a.user_id = current_user));
