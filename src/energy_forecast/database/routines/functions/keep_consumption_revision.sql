-- AFTER a statement that corrected values: an INSERT a row was two thirds of what a correction took
CREATE OR REPLACE FUNCTION keep_consumption_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    INSERT INTO public.energy_consumption_revisions
        (city_id, timestamp, consumption_kwh, peak_demand_kw, metadata, created_at, available_at, interval_minutes)
    SELECT o.city_id, o.timestamp, o.consumption_kwh, o.peak_demand_kw, o.metadata,
           o.created_at, o.available_at, o.interval_minutes
    FROM corrected o
    -- Of this very transaction: nobody else ever saw the value
    WHERE o.created_at <> CURRENT_TIMESTAMP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_consumption_revision() IS
    'Keeps the old values of corrected rows of energy_consumption, whoever corrects them';
