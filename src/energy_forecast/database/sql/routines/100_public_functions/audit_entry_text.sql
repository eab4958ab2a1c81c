-- The hashed text of the chain. The verification has its own copy of this expression, because it must not trust this
-- one. Not in SQL, because a session would plan it again for every entry
CREATE OR REPLACE FUNCTION audit_entry_text(place bigint, a audit_log) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    RETURN jsonb_build_array(
        place, a.id, a.number, a.table_name, a.action, a.old_data, a.new_data, a.user_name, a.session_user_name,
        a.transaction_id::text, a.city_ids, (extract(epoch FROM a.timestamp) * 1000000)::bigint)::text;
END $$;
COMMENT ON FUNCTION audit_entry_text(bigint, audit_log) IS 'The hashed text of an entry at a position of the chain';
