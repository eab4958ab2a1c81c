-- For functions that read as the owner, whom the policies of the tables do not restrict. Not in SQL, as acting_role()
CREATE OR REPLACE FUNCTION may_read_city(city uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    RETURN EXISTS (
            SELECT FROM unnest(ARRAY['energy_forecast_owner', 'energy_forecast_ingest', 'energy_forecast_forecaster',
                                     'energy_forecast_operator', 'energy_forecast_auditor']) AS platform
            WHERE pg_has_role(public.acting_role(), platform, 'USAGE'))
        OR EXISTS (
            SELECT FROM public.user_city_access a WHERE a.user_id = public.acting_role() AND a.city_id = city);
END $$;
COMMENT ON FUNCTION may_read_city(uuid) IS
    'Whether the acting role may see a city: a role of the platform sees every city, a user the cities granted to them';
