-- AFTER a statement that corrected values: one INSERT per row took two thirds of the time of a correction
CREATE OR REPLACE FUNCTION archive_consumption_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    -- INSERT ... ON CONFLICT DO UPDATE of a new row is also an UPDATE, of no row
    IF NOT EXISTS (SELECT FROM corrected) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.energy_consumption_revisions
        (city_id, timestamp, consumption_kwh, peak_demand_kw, metadata, created_at, available_at, interval_minutes)
    SELECT o.city_id, o.timestamp, o.consumption_kwh, o.peak_demand_kw, o.metadata,
           o.created_at, o.available_at, o.interval_minutes
    FROM corrected o
    -- No other transaction saw a value that was recorded by this one
    WHERE o.created_at <> CURRENT_TIMESTAMP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION archive_consumption_revision() IS
    'Stores the old values of corrected rows of energy_consumption, for every role';
