/* Tables without a city column. A user sees their own requests, the models trained for one of their cities and the runs that forecast one. An
   evaluation is a mean over cities, so a user sees it only if all cities of its model are theirs. */
DO $$
DECLARE
    bound record;
BEGIN
    FOR bound IN
        SELECT * FROM (VALUES
            ('public.user_city_access', 'user_id = current_user'),
            ('public.models', 'id = ANY (ARRAY(SELECT a.model_id FROM public.model_artifacts a))'),
            ('public.forecast_runs', 'EXISTS (SELECT FROM public.prediction_vintages v'
                ' WHERE v.run_id = forecast_runs.id AND v.issued_at = forecast_runs.issued_at)'),
            ('ops.run_requests', 'requested_by = current_user'),
            ('ops.http_loads', 'user_name = current_user'),
            ('public.model_metrics', 'public.may_read_evaluation(model_id)')
        ) AS bounds (relation, condition)
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', bound.relation);
        EXECUTE format('DROP POLICY IF EXISTS city_access ON %s', bound.relation);
        EXECUTE format('CREATE POLICY city_access ON %s FOR SELECT TO energy_forecast_app USING (%s)',
                       bound.relation, bound.condition);
        EXECUTE format('DROP POLICY IF EXISTS platform ON %s', bound.relation);
        EXECUTE format(
            'CREATE POLICY platform ON %s FOR ALL TO energy_forecast_owner, energy_forecast_ingest,'
            ' energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor USING (true)',
            bound.relation);
    END LOOP;
END $$;
