-- name: schema
-- Schemas of the platform: (object, state). The administrator chose the owner of public and ext.
SELECT nspname::text, jsonb_build_object('owner', CASE WHEN nspname = 'ops' THEN pg_get_userbyid(nspowner) END)
FROM pg_namespace WHERE nspname IN ('public', 'ops', 'ext')

-- name: relation
-- Tables, views and sequences except partitions: (object, state).
SELECT c.oid::regclass::text, jsonb_strip_nulls(jsonb_build_object(
    'kind', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
                           WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table'
                           ELSE 'type' END,
    'owner', pg_get_userbyid(c.relowner),
    'row-level security', CASE WHEN c.relkind IN ('r', 'p') THEN
        CASE WHEN NOT c.relrowsecurity THEN 'off' WHEN c.relforcerowsecurity THEN 'forced' ELSE 'on, not forced' END END,
    'partition key', pg_get_partkeydef(c.oid),
    'persistence', nullif(c.relpersistence, 'p'),
    'options', (SELECT string_agg(o, ', ' ORDER BY o COLLATE "C") FROM unnest(c.reloptions) o
                WHERE o ~ '^(security_invoker|security_barrier|check_option|user_catalog_table)='),
    'inherited by', (SELECT string_agg(i.inhrelid::regclass::text, ', ' ORDER BY i.inhrelid) FROM pg_inherits i
                     WHERE i.inhparent = c.oid AND c.relkind = 'r'),
    'inherits', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhparent) FROM pg_inherits i
                 WHERE i.inhrelid = c.oid),
    -- Versions before 16 qualify every column even with a single table
    'definition', CASE WHEN c.relkind IN ('v', 'm') THEN (
        SELECT left(encode(sha256(convert_to(CASE WHEN cardinality(q.names) = 1
                   THEN regexp_replace(d.text, '\m' || q.names[1] || '\.', '', 'g') ELSE d.text END, 'UTF8')), 'hex'), 16)
        FROM (SELECT regexp_replace(pg_get_viewdef(c.oid), '\s+', ' ', 'g')) AS d (text),
             LATERAL (SELECT array_agg(DISTINCT m[1]) FROM regexp_matches(split_part(d.text, ' FROM ', 1), '\m(\w+)\.', 'g') m)
                 AS q (names)) END))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE (n.nspname IN ('public', 'ops', 'ext') OR n.nspname = 'pg_catalog' AND c.oid >= 16384)
  AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')

-- name: column
-- Columns of tables and views except partitions: (object, state).
SELECT format('%%s.%%I', c.oid::regclass, a.attname), jsonb_strip_nulls(jsonb_build_object(
    'type', format_type(a.atttypid, a.atttypmod),
    'not null', nullif(a.attnotnull, false),
    'default', CASE a.attgenerated WHEN '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
    -- -1 up to version 16, null since 17
    'statistics target', nullif(a.attstattarget, -1)))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')

-- name: constraint
-- Constraints of tables except partitions: (object, state). `column` contains NOT NULL, unless it was never validated.
SELECT format('%%s on %%s', k.conname, k.conrelid::regclass),
       jsonb_build_object('definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND NOT c.relispartition AND NOT (k.contype = 'n' AND k.convalidated)
  AND k.contype <> 't'

-- name: index
-- Indexes of tables except partitions: (object, state).
SELECT i.indexrelid::regclass::text, jsonb_build_object(
    'definition', pg_get_indexdef(i.indexrelid), 'usable', i.indisvalid AND i.indisready AND i.indislive)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition

-- name: trigger
-- Triggers of tables except partitions: (object, state). `always`: session_replication_role does not disable it.
SELECT format('%%s on %%s', t.tgname, t.tgrelid::regclass), jsonb_build_object(
    'definition', regexp_replace(pg_get_triggerdef(t.oid), '\s+', ' ', 'g'),
    'enabled', CASE t.tgenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'yes' WHEN 'R' THEN 'as a replica only' ELSE 'no' END)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND NOT c.relispartition AND NOT t.tgisinternal

-- name: rule
-- Rules of tables and partitions: (object, state). No rule is expected.
SELECT format('%%s on %%s', r.rulename, r.ev_class::regclass), jsonb_build_object('definition', pg_get_ruledef(r.oid))
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'ops') AND c.relkind IN ('r', 'p')

-- name: policy
-- Policies of tables and partitions: (object, state).
SELECT format('%%s on %%s', p.policyname, format('%%I.%%I', p.schemaname, p.tablename)::regclass),
       jsonb_strip_nulls(jsonb_build_object(
           'permissive', nullif(p.permissive = 'PERMISSIVE', true), 'command', p.cmd,
           'roles', array_to_string(ARRAY(SELECT unnest(p.roles)::text COLLATE "C" ORDER BY 1), ', '),
           'condition', regexp_replace(p.qual, '\s+', ' ', 'g'), 'check', regexp_replace(p.with_check, '\s+', ' ', 'g')))
FROM pg_policies p WHERE p.schemaname IN ('public', 'ops')

-- name: function
-- Functions and procedures: (object, state). The state has a digest of the body.
SELECT p.oid::regprocedure::text, jsonb_strip_nulls(jsonb_build_object(
    'owner', pg_get_userbyid(p.proowner), 'language', l.lanname,
    'arguments', pg_get_function_arguments(p.oid), 'result', pg_get_function_result(p.oid),
    'security definer', nullif(p.prosecdef, false), 'leakproof', nullif(p.proleakproof, false),
    'strict', nullif(p.proisstrict, false), 'volatility', p.provolatile, 'parallel', nullif(p.proparallel, 'u'),
    'settings', (SELECT string_agg(s, '; ' ORDER BY s COLLATE "C") FROM unnest(p.proconfig) s),
    'support', nullif(p.prosupport::oid, 0)::regproc::text,
    'body', left(encode(sha256(convert_to(p.prosrc || coalesce(p.probin, '') || coalesce(pg_get_function_sqlbody(p.oid), ''),
                                          'UTF8')), 'hex'), 16)))
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE (n.nspname IN ('public', 'ops', 'ext') OR n.nspname = 'pg_catalog' AND p.oid >= 16384)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')

-- name: object
-- User-created objects of other kinds: (object, state). Objects of the server and of extensions are excluded.
SELECT format('%%s %%s', i.type, i.identity), jsonb_build_object('owner', pg_get_userbyid(o.owner))
FROM (
    SELECT 'pg_type'::regclass AS class, t.oid, t.typnamespace AS namespace, t.typowner AS owner FROM pg_type t
    WHERE t.typrelid = 0 AND t.typelem = 0
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace, oprowner FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace, opcowner FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace, opfowner FROM pg_opfamily
    UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace, collowner FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, connamespace, conowner FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace, cfgowner FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace, dictowner FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid, prsnamespace, NULL FROM pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid, tmplnamespace, NULL FROM pg_ts_template
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxnamespace, stxowner FROM pg_statistic_ext
    UNION ALL SELECT 'pg_cast'::regclass, oid, NULL, NULL FROM pg_cast
    UNION ALL SELECT 'pg_transform'::regclass, oid, NULL, NULL FROM pg_transform
    UNION ALL SELECT 'pg_language'::regclass, oid, NULL, lanowner FROM pg_language
    UNION ALL SELECT 'pg_am'::regclass, oid, NULL, NULL FROM pg_am
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, NULL, fdwowner FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, NULL, srvowner FROM pg_foreign_server
    UNION ALL SELECT 'pg_publication'::regclass, oid, NULL, pubowner FROM pg_publication
) o LEFT JOIN pg_namespace n ON n.oid = o.namespace, LATERAL pg_identify_object(o.class, o.oid, 0) i
WHERE o.oid >= 16384 AND (n.nspname IS NULL OR n.nspname IN ('public', 'ops', 'ext', 'pg_catalog'))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT format('large object %%s', oid), jsonb_build_object('owner', pg_get_userbyid(lomowner)) FROM pg_largeobject_metadata
UNION ALL
SELECT format('subscription %%s', subname), jsonb_build_object('owner', pg_get_userbyid(subowner)) FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT format('default privileges of %%s for %%s', pg_get_userbyid(defaclrole),
              CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'f' THEN 'functions' WHEN 'S' THEN 'sequences'
                                 WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' ELSE 'large objects' END),
       jsonb_build_object('owner', pg_get_userbyid(defaclrole))
FROM pg_default_acl WHERE pg_get_userbyid(defaclrole) ~ '^energy_forecast_' OR defaclnamespace IN (
    SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'ops', 'ext'))

-- name: extension
-- Extensions in the platform's schemas: (object, state). Extensions in other schemas are not checked.
SELECT extname::text, jsonb_build_object('schema', n.nspname)
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE n.nspname IN ('public', 'ops', 'ext') AND extname <> 'pg_stat_statements'

-- name: event_trigger
-- Event triggers except those of extensions: (object, state).
SELECT e.evtname::text, jsonb_strip_nulls(jsonb_build_object(
    'event', e.evtevent, 'function', e.evtfoid::regproc::text, 'commands', array_to_string(e.evttags, ', '),
    'enabled', CASE e.evtenabled WHEN 'A' THEN 'always' WHEN 'O' THEN 'yes' WHEN 'R' THEN 'as a replica only' ELSE 'no' END))
FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e')

-- name: privilege
-- Privileges beyond those of the owner, by object and role: (object, state). Partitions have none.
WITH granted AS (
    SELECT format('%%s to %%s', c.oid::regclass, x.grantee) AS object, x.privilege_type AS privilege, x.is_grantable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
         LATERAL (SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS grantee,
                         a.privilege_type, a.is_grantable
                  FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) x
    WHERE n.nspname IN ('public', 'ops')
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('%%s to %%s', c.oid::regclass, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
           format('%%s (%%s)', x.privilege_type, string_agg(a.attname, ', ' ORDER BY a.attname COLLATE "C")), x.is_grantable
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped, LATERAL aclexplode(a.attacl) x
    WHERE n.nspname IN ('public', 'ops') AND x.grantee <> c.relowner
    GROUP BY c.oid, x.grantee, x.privilege_type, x.is_grantable
    UNION ALL
    SELECT format('%%s to %%s', p.oid::regprocedure, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
           x.privilege_type, x.is_grantable
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
         LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
    WHERE n.nspname IN ('public', 'ops') AND x.grantee <> p.proowner
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('schema %%s to %%s', n.nspname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
           x.privilege_type, x.is_grantable
    FROM pg_namespace n, LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x
    WHERE n.nspname IN ('public', 'ops', 'ext') AND x.grantee <> n.nspowner
      -- The owner's privileges, if ext or public belongs to another role
      AND NOT (n.nspname = 'ext' AND x.grantee = 'energy_forecast_owner'::regrole)
    UNION ALL
    -- The DBA decides who may connect
    SELECT format('database to %%s', CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
           x.privilege_type, x.is_grantable
    FROM pg_database b, LATERAL aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) x
    WHERE b.datname = current_database() AND x.grantee <> b.datdba AND x.privilege_type <> 'CONNECT'
    UNION ALL
    -- Privileges of the platform's roles on the server's functions, tables and settings
    SELECT format('%%s to %%s', p.oid::regprocedure, pg_get_userbyid(x.grantee)), x.privilege_type, x.is_grantable
    FROM pg_proc p, LATERAL aclexplode(p.proacl) x
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384 AND x.grantee <> 0
      AND pg_get_userbyid(x.grantee) = ANY (%(roles)s) AND p.proname !~ '^pg_(try_)?advisory_'
    UNION ALL
    SELECT format('%%s to %%s', c.oid::regclass, pg_get_userbyid(x.grantee)), x.privilege_type, x.is_grantable
    FROM pg_class c, LATERAL aclexplode(c.relacl) x
    WHERE c.relnamespace = 'pg_catalog'::regnamespace AND x.grantee <> 0
      AND pg_get_userbyid(x.grantee) = ANY (%(roles)s)
    UNION ALL
    SELECT format('parameter %%s to %%s', p.parname, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
           x.privilege_type, x.is_grantable
    FROM pg_parameter_acl p, LATERAL aclexplode(p.paracl) x
    WHERE x.grantee <> 10 AND (p.parname = ANY (%(parameters)s) OR x.grantee <> 0 AND pg_get_userbyid(x.grantee) = ANY (%(roles)s))
)
SELECT object, jsonb_build_object('privileges', string_agg(
           privilege || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END, ', '
           ORDER BY privilege COLLATE "C", is_grantable))
FROM granted GROUP BY object

-- name: closed_function
-- Functions of the server that PUBLIC may not call, with the roles that may: (object, state).
SELECT p.proname::text, jsonb_build_object('only for', coalesce((
    SELECT string_agg(DISTINCT pg_get_userbyid(x.grantee)::text COLLATE "C", ', ' ORDER BY pg_get_userbyid(x.grantee)::text COLLATE "C")
    FROM pg_proc o, LATERAL aclexplode(o.proacl) x
    WHERE o.proname = p.proname AND o.pronamespace = 'pg_catalog'::regnamespace AND x.grantee <> o.proowner
      AND pg_get_userbyid(x.grantee) = ANY (%(roles)s)), 'nobody'))
FROM pg_proc p
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
  AND NOT EXISTS (SELECT FROM pg_init_privs i WHERE i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass)
GROUP BY p.proname
HAVING bool_and(p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM aclexplode(p.proacl) x WHERE x.grantee = 0))

-- name: role
-- Roles of the platform: (object, state).
SELECT r.rolname::text, jsonb_strip_nulls(jsonb_build_object(
    'superuser', nullif(r.rolsuper, false), 'createrole', nullif(r.rolcreaterole, false),
    'createdb', nullif(r.rolcreatedb, false), 'replication', nullif(r.rolreplication, false),
    'bypassrls', nullif(r.rolbypassrls, false), 'inherit', r.rolinherit, 'login', r.rolcanlogin,
    'settings', (SELECT string_agg(c, '; ' ORDER BY c COLLATE "C") FROM pg_db_role_setting s, unnest(s.setconfig) c
                 WHERE s.setrole = r.oid AND (s.setdatabase = 0 OR s.setdatabase = (
                     SELECT oid FROM pg_database WHERE datname = current_database())))))
FROM pg_roles r WHERE r.rolname = ANY (%(roles)s)

-- name: membership
-- Memberships of the platform's roles: (object, state). Options of version 16 and later if they are not the default.
SELECT format('%%s in %%s', pg_get_userbyid(m.member), pg_get_userbyid(m.roleid)), jsonb_strip_nulls(jsonb_build_object(
    'admin', nullif(bool_or(m.admin_option), false),
    'inherit', nullif(bool_or(coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)), r.rolinherit),
    'set', nullif(bool_or(coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)), true)))
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
WHERE r.rolname = ANY (%(roles)s) AND NOT (r.rolname = 'energy_forecast_operator'
                                           AND m.roleid = 'pg_read_all_stats'::regrole)
  -- The API may SET ROLE to every user; `anomaly` checks users
  AND NOT (r.rolname = 'energy_forecast_api' AND EXISTS (
      SELECT FROM pg_auth_members u WHERE u.member = m.roleid AND u.roleid = 'energy_forecast_app'::regrole))
GROUP BY m.member, m.roleid, r.rolinherit

-- name: anomaly
-- Faults that no snapshot can express, because partitions, users and logins differ: (object, fault, remedy, whether an
-- upgrade repairs it).
SELECT format('Partition %%s', c.oid::regclass), x.fault, 'Run: energy-forecast db upgrade', true
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, LATERAL (VALUES
    (CASE WHEN c.relowner <> 'energy_forecast_owner'::regrole THEN 'belongs to ' || pg_get_userbyid(c.relowner) END),
    (CASE WHEN NOT c.relrowsecurity THEN 'has row-level security off'
          WHEN NOT c.relforcerowsecurity THEN 'does not force row-level security' END),
    (CASE WHEN NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'through_parent')
          THEN 'lacks the trigger through_parent' END)) AS x (fault)
WHERE c.relispartition AND c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'ops') AND x.fault IS NOT NULL
UNION ALL
SELECT format('Partition %%s', c.oid::regclass), 'is unlogged: a crash empties it, and no archive has it',
       format('Run: ALTER TABLE %%s SET LOGGED', c.oid::regclass), false
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relispartition AND c.relkind = 'r' AND c.relpersistence = 'u' AND n.nspname IN ('public', 'ops')
UNION ALL
-- They run with the rights of their owner, and no policy restricts their users
SELECT o.object, format('is in another schema, but belongs to %%s', o.owner), 'Drop it, or give it another owner.', false
FROM (
    SELECT format('%%s %%s', CASE c.relkind WHEN 'v' THEN 'View' WHEN 'm' THEN 'Materialized view' ELSE 'Table' END, c.oid::regclass),
           pg_get_userbyid(c.relowner)::text, c.relnamespace
    FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
    UNION ALL
    SELECT format('Function %%s', p.oid::regprocedure), pg_get_userbyid(p.proowner)::text, p.pronamespace
    FROM pg_proc p WHERE p.prosecdef
) AS o (object, owner, namespace) JOIN pg_namespace n ON n.oid = o.namespace
WHERE o.owner = ANY (%(roles)s) AND n.nspname NOT IN ('public', 'ops', 'ext') AND n.nspname !~ '^pg_(toast|temp_)'
UNION ALL
SELECT format('Partition %%s', c.oid::regclass), 'is a foreign table', 'Detach it.', false
FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = i.inhparent
JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE c.relispartition AND c.relkind = 'f' AND n.nspname IN ('public', 'ops')
UNION ALL
SELECT format('Partition %%s', c.oid::regclass),
       format('has the trigger %%s, which is disabled or does not belong to this program', t.tgname),
       CASE WHEN t.tgname = 'through_parent' OR t.tgparentid <> 0 THEN 'Run: energy-forecast db upgrade'
            ELSE format('Run: DROP TRIGGER %%I ON %%s', t.tgname, c.oid::regclass) END,
       t.tgname = 'through_parent' OR t.tgparentid <> 0
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_trigger parent ON parent.oid = t.tgparentid
WHERE c.relispartition AND n.nspname IN ('public', 'ops') AND NOT t.tgisinternal
  AND CASE WHEN t.tgparentid <> 0 THEN t.tgenabled <> parent.tgenabled
           ELSE t.tgenabled <> 'A' OR pg_get_triggerdef(t.oid) <> format(
               'CREATE TRIGGER through_parent BEFORE INSERT OR DELETE OR UPDATE OR TRUNCATE ON %%s'
               ' FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change(%%L)', c.oid::regclass,
               'a partition is written through its table, which is audited, and never truncated') END
UNION ALL
SELECT format('Partition %%s', c.oid::regclass),
       format('has the constraint %%s, which %%s', k.conname,
              CASE WHEN k.convalidated THEN 'its table does not have' ELSE 'was never validated' END),
       CASE WHEN k.convalidated THEN format('Run: ALTER TABLE %%s DROP CONSTRAINT %%I', c.oid::regclass, k.conname)
            ELSE format('Run: ALTER TABLE %%s VALIDATE CONSTRAINT %%I', c.oid::regclass, k.conname) END, false
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relispartition AND n.nspname IN ('public', 'ops') AND k.contype IN ('c', 'f', 'p', 'u', 'x')
  AND (NOT k.convalidated OR k.coninhcount = 0 AND k.conparentid = 0)
  -- Retention adds it to a month that it thins
  AND NOT (k.convalidated AND k.conname = 'thinned' AND EXISTS (
      SELECT FROM ops.dropped_data d
      WHERE d.partition_name = c.relname
        AND pg_get_constraintdef(k.oid) = format('CHECK ((("timestamp" - issued_at) < %%L::interval))',
                                                 make_interval(hours => d.kept_lead_hours))))
UNION ALL
SELECT format('Table %%s', t.tgrelid::regclass), format('does not check the foreign key %%s: its trigger is disabled', k.conname),
       format('Run: ALTER TABLE %%s ENABLE TRIGGER ALL, then energy-forecast db upgrade', t.tgrelid::regclass), false
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE n.nspname IN ('public', 'ops') AND t.tgisinternal AND t.tgenabled <> 'O'
UNION ALL
SELECT format('Role %%s', r.rolname), 'is a user, but ' || x.fault, x.remedy, false
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member, LATERAL (VALUES
    (CASE WHEN r.rolsuper THEN 'is a superuser' END, format('Run: ALTER ROLE %%I NOSUPERUSER', r.rolname)),
    (CASE WHEN r.rolbypassrls THEN 'bypasses row-level security' END, format('Run: ALTER ROLE %%I NOBYPASSRLS', r.rolname)),
    (CASE WHEN r.rolcreaterole THEN 'may make roles' END, format('Run: ALTER ROLE %%I NOCREATEROLE', r.rolname)),
    (CASE WHEN r.rolreplication THEN 'may replicate the whole server' END, format('Run: ALTER ROLE %%I NOREPLICATION', r.rolname)),
    (CASE WHEN m.admin_option THEN 'may make others members of energy_forecast_app' END,
     format('Run: REVOKE ADMIN OPTION FOR energy_forecast_app FROM %%I', r.rolname))) AS x (fault, remedy)
WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname <> ALL (%(roles)s) AND x.fault IS NOT NULL
  -- A login that created the roles is not a user
  AND NOT pg_has_role(r.oid, 'energy_forecast_owner', 'MEMBER')
UNION ALL
SELECT format('Role %%s', r.rolname), format('is a user, but also a member of %%s', o.rolname),
       format('Run: REVOKE %%I FROM %%I', o.rolname, r.rolname), false
FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_auth_members also ON also.member = m.member
JOIN pg_roles o ON o.oid = also.roleid
WHERE m.roleid = 'energy_forecast_app'::regrole AND r.rolname <> ALL (%(roles)s) AND NOT r.rolsuper
  AND (o.rolname ~ '^pg_' OR o.rolsuper OR o.rolbypassrls OR o.rolcreaterole OR o.rolname = ANY (%(roles)s)
       AND o.rolname <> 'energy_forecast_app')
  -- A login that takes the platform's roles and adds users is not a user
  AND NOT (pg_has_role(r.oid, 'energy_forecast_owner', 'MEMBER') AND EXISTS (
      SELECT FROM pg_auth_members own WHERE own.member = m.member AND own.roleid = m.roleid AND own.admin_option))
  -- A login that upgrades without being a superuser is a member of all roles
  AND NOT (SELECT bool_and(pg_has_role(r.oid, k.rolname, 'MEMBER')) FROM pg_roles k
           WHERE k.rolname = ANY (%(roles)s) AND k.rolname NOT IN ('energy_forecast_recorder', 'energy_forecast_loader'))
UNION ALL
SELECT format('Role %%s', pg_get_userbyid(m.member)), format('is a member of %%s, which must have no members', pg_get_userbyid(m.roleid)),
       format('Run: REVOKE %%I FROM %%I', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member)), false
FROM pg_auth_members m
WHERE pg_get_userbyid(m.roleid) IN ('energy_forecast_recorder', 'energy_forecast_loader')
  -- Since version 16 the creator of a role is a member of it
  AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = m.member)
UNION ALL
SELECT CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'The server' WHEN s.setrole = 0 THEN 'The database'
            ELSE format('Role %%s', pg_get_userbyid(s.setrole)) END,
       format('sets %%s', c),
       format('Run: ALTER %%s RESET %%s', CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ROLE ALL'
                  WHEN s.setrole = 0 THEN format('DATABASE %%I', current_database())
                  ELSE format('ROLE %%I', pg_get_userbyid(s.setrole))
                       || CASE WHEN s.setdatabase = 0 THEN '' ELSE format(' IN DATABASE %%I', current_database()) END END,
              split_part(c, '=', 1)), s.setrole = 0 AND s.setdatabase <> 0
FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND split_part(c, '=', 1) = ANY (%(parameters)s)
  -- `role` contains the settings of the platform's roles; a user's own settings do not affect others
  AND (s.setrole = 0 OR EXISTS (
      SELECT FROM pg_auth_members m WHERE m.member = s.setrole AND pg_get_userbyid(m.roleid) = ANY (%(roles)s)
        AND m.roleid <> 'energy_forecast_app'::regrole AND pg_get_userbyid(s.setrole) <> ALL (%(roles)s)))
UNION ALL
SELECT 'The server', format('sets %%s = %%s', name, reset_val), format('Remove %%s from %%s.', name, coalesce(sourcefile, 'the configuration')), false
FROM pg_settings
WHERE name IN ('session_replication_role', 'event_triggers', 'row_security', 'allow_system_table_mods')
  AND source IN ('configuration file', 'command line', 'environment variable', 'global')
  AND reset_val <> CASE name WHEN 'session_replication_role' THEN 'origin' WHEN 'allow_system_table_mods' THEN 'off' ELSE 'on' END
ORDER BY 1, 2

-- name: ddl_was_audited
-- Whether schema changes are or were audited here, which only a superuser can enable.
SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtname LIKE 'energy_forecast_audit_%%')
    OR EXISTS (SELECT FROM public.audit_log WHERE action IN ('DDL', 'DROP'))

-- name: repairs
-- The statements that repair the given faults (as arrays) if applying the routines again does not: (statement).
WITH fault AS (
    SELECT * FROM unnest(%(kinds)s::text[], %(names)s::text[], %(verdicts)s::text[], %(states)s::jsonb[])
        WITH ORDINALITY AS f (kind, name, verdict, state, place)
), granted AS (
    SELECT f.*, regexp_replace(f.name, ' to [^ ]+$', '') AS thing,
           CASE regexp_replace(f.name, '^.* to ', '') WHEN 'PUBLIC' THEN 'PUBLIC'
               ELSE quote_ident(regexp_replace(f.name, '^.* to ', '')) END AS grantee
    FROM fault f WHERE f.kind = 'privilege' AND f.verdict <> 'missing'
      -- Without these privileges no schema change can be audited
      AND f.name NOT LIKE '%% to energy_forecast_recorder'
)
SELECT s.statement FROM (
    SELECT place, format('ALTER %%s %%s OWNER TO energy_forecast_owner',
                         CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                                        ELSE 'TABLE' END, c.oid::regclass) AS statement
    FROM fault JOIN pg_class c ON c.oid = to_regclass(name)
    WHERE kind = 'relation' AND verdict = 'different' AND pg_get_userbyid(c.relowner) <> state ->> 'owner'
    UNION ALL
    SELECT place, format('ALTER ROUTINE %%s OWNER TO %%I', p.oid::regprocedure, state ->> 'owner')
    FROM fault JOIN pg_proc p ON p.oid = CASE WHEN name ~ '\)$' THEN to_regprocedure(name) END
    WHERE kind = 'function' AND verdict = 'different' AND pg_get_userbyid(p.proowner) <> state ->> 'owner'
    UNION ALL
    SELECT place, format('ALTER SCHEMA %%s OWNER TO energy_forecast_owner', name) FROM fault
    WHERE kind = 'schema' AND verdict = 'different'
    UNION ALL
    SELECT place, format('ALTER TABLE %%s %%s', c.oid::regclass,
                         CASE state ->> 'row-level security' WHEN 'forced' THEN 'ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'
                             ELSE 'DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY' END)
    FROM fault JOIN pg_class c ON c.oid = to_regclass(name)
    WHERE kind = 'relation' AND verdict = 'different' AND state ? 'row-level security' AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT place, format('DROP POLICY %%I ON %%s', p.polname, p.polrelid::regclass)
    FROM fault JOIN pg_policy p ON format('%%s on %%s', p.polname, p.polrelid::regclass) = name
    WHERE kind = 'policy' AND verdict = 'unknown'
    UNION ALL
    SELECT place, format('REVOKE ALL ON %%s FROM %%s CASCADE',
                         CASE WHEN thing ~ '^(schema|parameter) ' THEN thing
                              WHEN thing = 'database' THEN format('DATABASE %%I', current_database())
                              WHEN CASE WHEN thing ~ '\)$' THEN to_regprocedure(thing) END IS NOT NULL THEN 'ROUTINE ' || thing
                              WHEN (SELECT relkind FROM pg_class WHERE oid = to_regclass(thing)) = 'S' THEN 'SEQUENCE ' || thing
                              ELSE 'TABLE ' || thing END, grantee)
    FROM granted WHERE NOT (thing = 'database' AND grantee = 'PUBLIC')
    UNION ALL
    SELECT place, format('REVOKE CREATE, TEMPORARY ON DATABASE %%I FROM PUBLIC', current_database())
    FROM granted WHERE thing = 'database' AND grantee = 'PUBLIC'
    UNION ALL
    -- PUBLIC may use the schemas public and ext
    SELECT place, format('GRANT USAGE ON %%s TO PUBLIC', thing) FROM granted
    WHERE thing IN ('schema public', 'schema ext') AND grantee = 'PUBLIC'
    UNION ALL
    SELECT place, format('GRANT CREATE, USAGE ON SCHEMA public TO energy_forecast_owner') FROM fault
    WHERE kind = 'privilege' AND name = 'schema public to energy_forecast_owner'
    UNION ALL
    SELECT place, format('GRANT CREATE ON DATABASE %%I TO energy_forecast_owner', current_database()) FROM fault
    WHERE kind = 'privilege' AND name = 'database to energy_forecast_owner'
    UNION ALL
    SELECT place, format('ALTER ROLE %%I %%s %%s %%s %%s %%s %%s %%s', name,
                         CASE WHEN state ? 'superuser' THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
                         CASE WHEN state ? 'createrole' THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
                         CASE WHEN state ? 'createdb' THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
                         CASE WHEN state ? 'replication' THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
                         CASE WHEN state ? 'bypassrls' THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
                         CASE WHEN (state ->> 'inherit')::boolean THEN 'INHERIT' ELSE 'NOINHERIT' END,
                         CASE WHEN (state ->> 'login')::boolean THEN 'LOGIN' ELSE 'NOLOGIN' END)
    FROM fault WHERE kind = 'role' AND verdict = 'different'
    UNION ALL
    SELECT place, format('ALTER ROLE %%I%%s RESET ALL', name, database) FROM fault,
        unnest(ARRAY['', format(' IN DATABASE %%I', current_database())]) AS database
    WHERE kind = 'role' AND verdict = 'different'
    UNION ALL
    SELECT place, format('REVOKE %%I FROM %%I CASCADE', split_part(name, ' in ', 2), split_part(name, ' in ', 1)) FROM fault
    WHERE kind = 'membership' AND verdict <> 'missing'
    UNION ALL
    SELECT place, format('GRANT %%I TO %%I', split_part(name, ' in ', 2), split_part(name, ' in ', 1)) FROM fault
    WHERE kind = 'membership' AND verdict <> 'unknown'
    UNION ALL
    SELECT place, format('ALTER DATABASE %%I RESET %%I', current_database(), split_part(c, '=', 1))
    FROM fault, pg_db_role_setting s, unnest(s.setconfig) c
    WHERE kind = 'anomaly' AND name = 'The database' AND s.setrole = 0
      AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND split_part(c, '=', 1) = ANY (%(parameters)s)
) AS s ORDER BY s.place

-- name: record_repairs
-- Record the faults that an upgrade repaired in the ledger.
INSERT INTO ops.repairs (fault) SELECT unnest(%(faults)s::text[])

-- name: search_path
-- The search path of this session: (search_path).
SELECT current_setting('search_path')

-- name: set_search_path
-- Set the search path until the end of the transaction: (search_path).
SELECT set_config('search_path', %(path)s, true)
