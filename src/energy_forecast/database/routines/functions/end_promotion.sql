/* The champion before ends where the next one begins, in the same transaction, and nothing else of a row ever changes. */
CREATE OR REPLACE FUNCTION end_promotion() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    UPDATE public.model_promotions p SET during = tstzrange(lower(p.during), lower(NEW.during))
    WHERE p.city_id = NEW.city_id AND upper_inf(p.during);
    RETURN NEW;
END $$;
COMMENT ON FUNCTION end_promotion() IS 'Ends the time of the champion before';
