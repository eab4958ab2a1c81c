/* AFTER a statement that changed predictions: the current forecast must exist in prediction_vintages with the same values,
   and its bounds must match its confidence level. Not for the owner, whose function moves rows back from the partition of a
   city: their vintages may have been removed. */
CREATE OR REPLACE FUNCTION check_current_forecasts() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF EXISTS (
        SELECT FROM changed c
        LEFT JOIN public.prediction_vintages v ON v.city_id = c.city_id AND v.issued_at = c.issued_at
            AND v.timestamp = c.timestamp AND v.run_id = c.run_id AND v.model_id = c.model_id
            AND v.predicted_consumption = c.predicted_consumption
        LEFT JOIN public.forecast_runs r ON r.id = c.run_id
        WHERE v.run_id IS NULL OR NOT public.bounds_have_level(
            c.confidence_lower, c.confidence_upper, c.confidence_level, v.quantiles, r.quantile_levels))
    THEN
        RAISE EXCEPTION '% on % is refused: a current forecast must have the values of its vintage', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_current_forecasts() IS 'Rejects a current forecast without a vintage of the same values';
