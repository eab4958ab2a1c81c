/* AFTER a statement that changed bulk facts: one entry with counts, range, cities, and a digest of the rows. The rows
   are digested by city and block of time, in the order of their key, and the digests of the blocks once more: so the
   order of arrival changes nothing, and no more than a block is in memory at once. The same pass refuses a row that
   claims another moment of recording than this transaction's. Blocks are of equal length, counted from 2000 on: to find
   the month of a row was a quarter of the whole cost.

   Arguments: the column of time that makes blocks, the length of one, the columns of the key after the city,
   the columns that are digested. */
CREATE OR REPLACE FUNCTION audit_batch_func() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET work_mem = '64MB'
    AS $$
DECLARE
    found record;
    summary jsonb;
BEGIN
    EXECUTE format($query$
        SELECT sum(b.row_count)::bigint AS row_count, min(b.first) AS first, max(b.last) AS last,
               array_agg(DISTINCT b.city_id) AS cities, bool_and(b.honest) AS honest,
               sha256(string_agg(b.digest, ''::bytea ORDER BY b.city_id, b.block)) AS digest
        FROM (
            SELECT c.city_id, date_bin(%2$L, c.%1$I, '2000-01-01 00:00:00+00') AS block, count(*) AS row_count,
                   min(c.timestamp) AS first, max(c.timestamp) AS last, bool_and(c.created_at = now()) AS honest,
                   sha256(uuid_send(c.city_id) || string_agg(record_send(ROW(%4$s)), ''::bytea ORDER BY %3$s)) AS digest
            FROM changed c
            GROUP BY c.city_id, date_bin(%2$L, c.%1$I, '2000-01-01 00:00:00+00')
        ) b $query$, TG_ARGV[0], TG_ARGV[1], TG_ARGV[2], TG_ARGV[3]) INTO found;
    IF found.row_count IS NULL THEN
        RETURN NULL;  -- The statement touched no row
    END IF;
    IF TG_OP <> 'DELETE' AND NOT found.honest THEN
        RAISE EXCEPTION 'created_at of % is set by the database, and by nobody else', TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    summary := jsonb_build_object(
        'rows', found.row_count, 'cities', cardinality(found.cities), 'digest', encode(found.digest, 'hex'),
        'first', to_char(found.first AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'last', to_char(found.last AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    INSERT INTO public.audit_log (table_name, action, old_data, new_data, user_name, city_ids)
    VALUES (TG_TABLE_NAME, TG_OP, CASE TG_OP WHEN 'DELETE' THEN summary END,
            CASE WHEN TG_OP <> 'DELETE' THEN summary END, public.acting_role(), found.cities);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION audit_batch_func() IS
    'Writes a statement that changed bulk facts into audit_log, and refuses rows with a forged created_at';
