/* People have no right on the log. Should one be granted one day, they see what concerns cities of theirs alone, and
   nothing that concerns none in particular. */
DO $$
BEGIN
    -- Made once and first: while it is gone, nothing could be audited, not even its own making
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
