-- name: may_see_all
-- Whether the current role sees every row of every table: (bypasses row-level security, reads everything).
SELECT r.rolbypassrls OR r.rolsuper, pg_has_role(current_user, 'pg_read_all_data', 'USAGE') OR r.rolsuper
FROM pg_roles r WHERE r.rolname = current_user

-- name: export_snapshot
-- The identifier by which pg_dump reads the snapshot of this transaction.
SELECT pg_export_snapshot()

-- name: tables
-- Every table with rows, its own or those of its partitions: (name, statement that counts and digests the rows).
/* The digest is the sum of a 64-bit hash of each row's text, in bounded memory. It does not depend on the order of the
   rows, their partitions or the PostgreSQL version. Equal rows count as often as they occur. */
SELECT format('%s.%s', n.nspname, c.relname),
       format('SELECT count(*), coalesce(sum(hashtextextended("this row"::text, 0)), 0)::text FROM %I.%I "this row"',
              n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1

-- name: objects
-- Every object of the schema that does not belong to an extension: (kind, identity, definition).
WITH RECURSIVE relation AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS identity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence = 'p'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), of_parent AS (
    -- A dump has only the parent's constraint, and a restore gives the partition's constraint another name
    SELECT oid, oid AS parent FROM pg_constraint WHERE conparentid = 0
    UNION ALL
    SELECT k.oid, p.parent FROM of_parent p JOIN pg_constraint k ON k.conparentid = p.oid
)
SELECT 'table', identity, concat_ws(' ', relkind, pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity,
                                    pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid), relispopulated,
                                    obj_description(oid, 'pg_class'))
FROM relation WHERE relkind IN ('r', 'p', 'm', 'v', 'S')
UNION ALL
SELECT 'column', r.identity || '.' || quote_ident(a.attname),
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attstorage,
                 col_description(a.attrelid, a.attnum))
FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'm', 'v')
UNION ALL
SELECT 'index', r.identity, concat_ws(' ', pg_get_indexdef(r.oid), i.indisvalid)
FROM relation r JOIN pg_index i ON i.indexrelid = r.oid
UNION ALL
SELECT 'constraint', concat_ws(' ', r.identity, quote_ident(p.conname),
                               CASE WHEN k.confrelid <> p.confrelid THEN k.confrelid::regclass END),
       concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)
FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid JOIN of_parent ON of_parent.oid = k.oid
    JOIN pg_constraint p ON p.oid = of_parent.parent
-- PostgreSQL 18 names NOT NULL constraints, other versions do not; `column` contains them
WHERE k.contype <> 'n'
UNION ALL
SELECT 'policy', r.identity || ' ' || quote_ident(p.polname),
       concat_ws(' ', p.polcmd, p.polpermissive,
                 (SELECT string_agg(pg_get_userbyid(role)::text, ',' ORDER BY pg_get_userbyid(role)::text)
                  FROM unnest(p.polroles) role),
                 pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
UNION ALL
SELECT 'trigger', r.identity || ' ' || quote_ident(t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal
UNION ALL
SELECT 'view', r.identity, pg_get_viewdef(r.oid) || coalesce(array_to_string(r.reloptions, ','), '')
FROM relation r WHERE r.relkind IN ('v', 'm')
UNION ALL
SELECT 'function', p.oid::regprocedure::text, CASE p.prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'privilege', format('%s %s %s', r.identity, a.grantee_name, a.privilege_type), a.is_grantable::text
-- A default privilege and a granted one are equal
FROM relation r, LATERAL (
    SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END AS grantee_name, x.privilege_type,
           x.is_grantable
    -- A privilege that only one version has is not a difference: MAINTAIN is new in 17
    FROM aclexplode(coalesce(r.relacl, acldefault((CASE r.relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", r.relowner))) x
    WHERE x.privilege_type <> 'MAINTAIN') a
WHERE r.relkind IN ('r', 'p', 'm', 'v', 'S')
UNION ALL
SELECT 'column privilege', format('%s.%I %s %s', r.identity, c.attname, pg_get_userbyid(x.grantee), x.privilege_type),
       x.is_grantable::text
FROM relation r JOIN pg_attribute c ON c.attrelid = r.oid, LATERAL aclexplode(c.attacl) x
UNION ALL
SELECT 'function privilege',
       format('%s %s', p.oid::regprocedure, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(x.grantee)::text END),
       x.is_grantable::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT 'extension', extname::text, extnamespace::regnamespace::text FROM pg_extension
ORDER BY 1, 2

-- name: roles
-- The platform's roles and their members, without passwords: (name, attributes, comment, groups).
WITH RECURSIVE known AS (
    SELECT oid FROM pg_roles WHERE rolname ~ '^energy_forecast_' AND NOT rolsuper
    UNION
    SELECT m.member FROM known JOIN pg_auth_members m ON m.roleid = known.oid
)
SELECT r.rolname::text,
       concat_ws(' ', CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                 CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
                 CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END),
       shobj_description(r.oid, 'pg_authid'),
       coalesce(array_agg(g.rolname::text ORDER BY g.rolname) FILTER (WHERE g.rolname IS NOT NULL), '{}')
FROM known JOIN pg_roles r USING (oid)
    LEFT JOIN pg_auth_members m ON m.member = r.oid
    LEFT JOIN pg_roles g ON g.oid = m.roleid
-- The login belongs to the server, whose upgrade creates it
WHERE NOT r.rolsuper AND r.rolname <> 'energy_forecast_login'
GROUP BY r.oid, r.rolname, r.rolcanlogin, r.rolinherit, r.rolbypassrls
ORDER BY 1

-- name: role_statements
-- The statements that create one role of a backup and make the login a member of it; none for existing roles.
-- Only a superuser can grant BYPASSRLS
SELECT format('CREATE ROLE %%I %%s', %(name)s::text,
              CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN %(attributes)s::text
                   ELSE replace(%(attributes)s::text, 'BYPASSRLS', '') END)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s)
UNION ALL
SELECT format('COMMENT ON ROLE %%I IS %%L', %(name)s::text, %(comment)s::text)
WHERE %(comment)s::text IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %(name)s)
UNION ALL
SELECT format('GRANT %%I TO %%I', %(name)s::text, current_user)
WHERE %(name)s ~ '^energy_forecast_' AND NOT EXISTS (
    SELECT FROM pg_roles WHERE rolname = %(name)s AND pg_has_role(current_user, oid, 'MEMBER'))
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)

-- name: membership_statements
-- The statements that make one role a member of others; none for existing memberships.
SELECT format('GRANT %%I TO %%I', group_name, %(name)s::text)
FROM unnest(%(groups)s::text[]) group_name
WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = group_name) AND NOT EXISTS (
    SELECT FROM pg_auth_members WHERE roleid = to_regrole(quote_ident(group_name)) AND member = to_regrole(quote_ident(%(name)s)))

-- name: database_privileges
-- The statements that grant the privileges that the first migration grants on the database.
SELECT format('GRANT CREATE ON DATABASE %%I TO energy_forecast_owner', %(database)s::text)
UNION ALL
SELECT format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC', %(database)s::text)
UNION ALL
SELECT format('GRANT TEMPORARY ON DATABASE %%I TO energy_forecast_owner, energy_forecast_ingest, energy_forecast_forecaster',
              %(database)s::text)

-- name: database_exists
-- Whether a database with this name exists.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = %(database)s)

-- name: database_locale
-- The settings by which a new database sorts and compares like this one: encoding, locale provider, collation,
-- character type, locale of the provider.
SELECT pg_encoding_to_char(encoding), datlocprovider::text, datcollate::text, datctype::text,
       to_jsonb(d) ->> (CASE WHEN to_jsonb(d) ? 'datlocale' THEN 'datlocale' ELSE 'daticulocale' END)
FROM pg_database d WHERE datname = current_database()

-- name: killed
-- The databases of restores and drills; a running one holds the lock of its database's name, a killed one does not.
SELECT datname::text FROM pg_database WHERE datname ~ '^energy_forecast_(restoring|drill)_[0-9a-f]{12}$'

-- name: try_lock
-- Try to take the lock of this name until the end of the transaction: whether it was free.
SELECT pg_try_advisory_xact_lock(hashtextextended(%(name)s, 13))

-- name: record_backup
-- Record one attempt in the ledger.
INSERT INTO ops.backups (kind, name, folder, status, reason, bytes, sha256, server_version, tables, details, started_at)
VALUES (%(kind)s, %(name)s, %(folder)s, %(status)s, %(reason)s, %(bytes)s, %(sha256)s, %(server_version)s,
        %(tables)s::jsonb, %(details)s::jsonb, %(started_at)s)

-- name: record_check
-- Record one drill, verification or removal in the ledger.
INSERT INTO ops.recovery_checks (kind, subject, passed, reason, details, started_at)
VALUES (%(kind)s, %(subject)s, %(passed)s, %(reason)s, %(details)s::jsonb, %(started_at)s)

-- name: failures_since_verified
-- Failed attempts of these kinds after the last verified one, newest first: (name, reason, finished_at).
SELECT name, reason, finished_at FROM ops.backups b
WHERE kind = ANY (%(kinds)s) AND status = 'failed' AND NOT EXISTS (
    SELECT FROM ops.backups later
    WHERE later.kind = ANY (%(kinds)s) AND later.status = 'verified' AND later.serial > b.serial)
ORDER BY serial DESC LIMIT 20

-- name: last_check
-- The last check of a kind: (subject, passed, reason, details, finished_at, age in seconds, negative after a clock was
-- set back).
SELECT subject, passed, reason, details, finished_at, extract(epoch FROM clock_timestamp() - finished_at)::float8
FROM ops.recovery_checks WHERE kind = %(kind)s ORDER BY serial DESC LIMIT 1

-- name: mark_copy
-- Mark this database as a restored copy, which stays passive.
INSERT INTO ops.restored_copies (source, target) VALUES (%(source)s, %(target)s)

-- name: activate_copy
-- Activate a restored copy: its sources.
UPDATE ops.restored_copies SET activated_at = clock_timestamp(), activated_by = session_user
WHERE activated_at IS NULL RETURNING source, target

-- name: is_restored_copy
-- Whether this database is a restored copy that is not activated.
SELECT is_restored_copy()

-- name: copies_not_activated
-- The sources of this copy: (source, target, restored_at); no row if it is not a copy.
SELECT source, target, restored_at FROM ops.restored_copies WHERE activated_at IS NULL

-- name: is_empty
-- Whether this database has no relations of users.
SELECT NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
