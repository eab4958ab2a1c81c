-- name: head
-- The end of the chain, and the beginning's hash, which names the chain.
SELECT (SELECT hash FROM ops.audit_chain WHERE sequence = 0), sequence, hash
FROM ops.audit_chain ORDER BY sequence DESC LIMIT 1

-- name: place
-- Which server and database this is; both change with a restore elsewhere.
SELECT (SELECT system_identifier FROM pg_control_system())::text, current_database()::text

-- name: links
-- The next links of the chain with the text that each is the hash of. Its own copy of audit_entry_text(): see there.
SELECT c.sequence, c.previous_hash, c.hash, a.id IS NOT NULL AS present,
       jsonb_build_array(
           c.sequence, a.id, a.number, a.table_name, a.action, a.old_data, a.new_data, a.user_name, a.session_user_name,
           a.transaction_id::text, a.city_ids, (extract(epoch FROM a.timestamp) * 1000000)::bigint)::text AS text,
       c.audit_id, a.table_name, a.action, a.timestamp
FROM ops.audit_chain c LEFT JOIN audit_log a ON a.id = c.audit_id
WHERE c.sequence > %(after)s AND c.sequence <= %(until)s
ORDER BY c.sequence
LIMIT %(limit)s

-- name: unchained
-- Entries that no link of the chain holds; the trigger makes none.
SELECT count(*) OVER (), a.id, a.number, a.table_name, a.action, a.timestamp
FROM audit_log a WHERE NOT EXISTS (SELECT FROM ops.audit_chain c WHERE c.audit_id = a.id)
ORDER BY a.number LIMIT 10
