/* The period of the previous champion ends when the next one begins, in the same transaction. No other column changes. */
CREATE OR REPLACE FUNCTION end_previous_promotion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    UPDATE public.model_promotions p SET during = tstzrange(lower(p.during), lower(NEW.during))
    WHERE p.city_id = NEW.city_id AND upper_inf(p.during);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION end_previous_promotion() IS 'Ends the period of the previous champion';
