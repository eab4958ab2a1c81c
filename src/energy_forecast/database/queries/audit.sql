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

-- name: plain_names
-- Definitions are printed relative to the search path: with names of the catalog alone, nobody can hide a schema.
SELECT set_config('search_path', 'pg_catalog', true)

-- name: guards
-- What stands on the tables of the platform and could keep something from being seen, but for partitions: kind, table,
-- name, whether it is as firm as can be, definition. No rule is ever expected.
SELECT 'trigger' AS kind, n.nspname || '.' || c.relname AS on_table, t.tgname::text AS name, t.tgenabled = 'A' AS always,
       pg_get_triggerdef(t.oid) AS definition
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT t.tgisinternal
UNION ALL
SELECT 'rule', n.nspname || '.' || c.relname, r.rulename::text, r.ev_enabled = 'A', pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 'policy', schemaname || '.' || tablename, policyname::text, permissive = 'PERMISSIVE',
       concat_ws(' ', cmd, 'TO', array_to_string(ARRAY(SELECT unnest(roles)::text COLLATE "C" ORDER BY 1), ','),
                 'USING', qual, 'WITH CHECK ' || with_check)
FROM pg_policies WHERE schemaname IN ('public', 'ops')

-- name: partition_guards
-- What is wrong with the triggers of partitions, in sentences: nothing but the guard and the clones of the table's own.
SELECT format('The trigger through_parent on %s is missing', c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relispartition AND c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'ops')
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'through_parent')
UNION ALL
SELECT format('The trigger %s on %s is disabled, or not that of this program', t.tgname, c.oid::regclass)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger parent ON parent.oid = t.tgparentid
WHERE c.relispartition AND n.nspname IN ('public', 'ops') AND NOT t.tgisinternal
  AND CASE WHEN t.tgparentid <> 0 THEN t.tgenabled <> parent.tgenabled
           ELSE t.tgenabled <> 'A' OR pg_get_triggerdef(t.oid) <> format(
               'CREATE TRIGGER through_parent BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON %s'
               ' FOR EACH STATEMENT EXECUTE FUNCTION public.refuse(%L)', c.oid::regclass,
               'a partition is written through its table, which is audited, and never truncated') END
ORDER BY 1

-- name: functions
-- The functions behind them: name, body, whether it runs as its owner, its settings, its owner.
SELECT proname, prosrc, prosecdef, lower(array_to_string(proconfig, '; ')), pg_get_userbyid(proowner)::text
FROM pg_proc WHERE pronamespace IN ('public'::regnamespace, 'ops'::regnamespace) AND proname = ANY (%(names)s)

-- name: bulk_insert_by_owner
-- Whether what inserts a load's rows runs as the owner, who may switch no trigger off.
SELECT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'ops'::regnamespace AND proname = 'insert_staged'
               AND proowner = 'energy_forecast_owner'::regrole)

-- name: event_triggers
-- The event triggers that see changes of the schema: name, whether always enabled and for every command, function.
SELECT evtname, evtenabled = 'A' AND evttags IS NULL, evtfoid::regproc::text
FROM pg_event_trigger WHERE evtname LIKE 'energy_forecast_audit_%%'

-- name: ddl_was_audited
-- Whether the log holds a change of the schema: only event triggers write those.
SELECT EXISTS (SELECT FROM public.audit_log WHERE action IN ('DDL', 'DROP'))

-- name: is_superuser
-- Whether the login could make event triggers.
SELECT rolsuper FROM pg_roles WHERE rolname = session_user
