/* Rejected rows may name cities that are unknown or of others, so a user sees those of the batches that they loaded, as they
   sent them. */
CREATE OR REPLACE FUNCTION ops.rejected_rows_of(batch uuid)
    RETURNS TABLE (file text, line bigint, column_name text, reason text, row_data jsonb, cell_only boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM ops.http_loads l WHERE l.batch_id = batch AND l.user_name = public.acting_role())
       AND NOT pg_has_role(public.acting_role(), 'energy_forecast_operator', 'USAGE') THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.file, r.line, r.column_name, r.reason, r.row_data, r.cell_only
    FROM ops.rejected_rows r WHERE r.batch_id = batch;
END $$;
COMMENT ON FUNCTION ops.rejected_rows_of(uuid) IS
    'The quarantined rows and cells of a batch that the acting role loaded over HTTP; the operator sees those of every batch';
