/* AFTER a statement that changed predictions: the current forecast must exist in prediction_vintages with the same values.
   Not for the owner, whose function moves rows back from the partition of a city: their vintages may have been removed. */
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
        WHERE v.run_id IS NULL OR NOT (
            c.confidence_lower IS NULL
            -- The outermost quantiles first, because casting all of them takes as long as the rest
            OR (c.confidence_lower = v.quantiles[1]::numeric(12,2)
                OR c.confidence_lower = ANY (v.quantiles::numeric(12,2)[]))
            AND (c.confidence_upper = v.quantiles[v.quantile_count]::numeric(12,2)
                 OR c.confidence_upper = ANY (v.quantiles::numeric(12,2)[]))))
    THEN
        RAISE EXCEPTION '% on % is refused: a current forecast must have the values of its vintage', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION check_current_forecasts() IS 'Rejects a current forecast without a vintage of the same values';
