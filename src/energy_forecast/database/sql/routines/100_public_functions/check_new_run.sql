/* BEFORE a run is inserted: a version may only issue forecasts after the end of its training data. */
CREATE OR REPLACE FUNCTION check_new_run() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF EXISTS (SELECT FROM public.models m WHERE m.id = NEW.model_id AND m.trained_until > NEW.issued_at) THEN
        RAISE EXCEPTION 'INSERT on % is refused: the model version was trained on data later than issued_at', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION check_new_run() IS 'Rejects a run whose model version was trained on data later than its issue time';
