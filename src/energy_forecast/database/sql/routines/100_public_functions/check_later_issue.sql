/* AFTER a statement of the owner that changed predictions; the function of the trigger on prediction_vintages keeps the rule
   itself. */
CREATE OR REPLACE FUNCTION check_later_issue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM changed n JOIN replaced o USING (city_id, model_id, timestamp) WHERE n.issued_at < o.issued_at)
    THEN
        RAISE EXCEPTION '% on % is refused: a current forecast is replaced only by one that was issued later', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_later_issue() IS 'Rejects the replacement of a current forecast by an earlier issue';
