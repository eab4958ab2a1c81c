/* Reports of batches may name cities that are unknown or of others, so a user sees the batches that they loaded, whose rows of
   other cities were rejected as rows of unknown cities. */
CREATE OR REPLACE FUNCTION ops.readable_batches(batch uuid, before timestamptz, before_batch uuid, most integer)
    RETURNS TABLE (batch_id uuid, dataset text, recorded_at timestamptz, finished_at timestamptz, read bigint, inserted bigint,
                   corrected bigint, unchanged bigint, rejected bigint, cells_left_empty bigint, files text[], notes jsonb,
                   reasons jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
DECLARE
    acting name := public.acting_role();
    is_operator boolean := pg_has_role(acting, 'energy_forecast_operator', 'USAGE');
BEGIN
    RETURN QUERY
    SELECT b.id, b.kind, b.created_at, b.finished_at, b.read, b.inserted, b.corrected, b.unchanged, b.rejected, b.cells_left_empty,
           ARRAY(SELECT f ->> 'name' FROM jsonb_array_elements(b.files) AS f), b.notes, b.reasons
    FROM ops.ingest_batches b
    WHERE (batch IS NULL OR b.id = batch)
      AND (before IS NULL OR (b.finished_at, b.id) < (before, before_batch))
      AND (is_operator OR EXISTS (SELECT FROM ops.http_loads l WHERE l.batch_id = b.id AND l.user_name = acting))
    ORDER BY b.finished_at DESC, b.id DESC
    LIMIT most;
END $$;
COMMENT ON FUNCTION ops.readable_batches(uuid, timestamptz, uuid, integer) IS
    'Batches that the acting role loaded over HTTP, the last finished first; the operator sees every batch';
