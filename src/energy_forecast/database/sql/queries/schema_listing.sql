-- name: relations
-- The tables and views of the platform in the order of creation, without monthly partitions: SQL that describes each.
WITH relation AS (
    SELECT c.*, c.oid::regclass::text AS name,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind
    FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace)
      AND (NOT c.relispartition OR pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT')
), lines AS (
    SELECT r.oid, 1 AS part, '' AS key, CASE
        WHEN r.relispartition THEN format('CREATE TABLE %s PARTITION OF %s DEFAULT;', r.name, (
            SELECT i.inhparent::regclass FROM pg_inherits i WHERE i.inhrelid = r.oid))
        WHEN r.kind = 'TABLE' THEN format(E'CREATE TABLE %s (\n%s\n)%s%s;', r.name, (
            SELECT string_agg(E'    ' || t.line, E',\n' ORDER BY t.place, t.key) FROM (
                SELECT 1 AS place, to_char(a.attnum, '0000') AS key, concat_ws(' ', quote_ident(a.attname),
                    format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attidentity = 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                         WHEN a.attgenerated = 's' THEN format('GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid))
                         WHEN d.adbin IS NOT NULL THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END,
                    CASE WHEN a.attnotnull THEN 'NOT NULL' END) AS line
                FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
                UNION ALL
                SELECT CASE contype WHEN 'p' THEN 2 ELSE 3 END, conname, format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid))
                FROM pg_constraint WHERE conrelid = r.oid AND contype IN ('p', 'u', 'f', 'c', 'x')
            ) AS t), ' PARTITION BY ' || pg_get_partkeydef(r.oid), ' WITH (' || array_to_string(r.reloptions, ', ') || ')')
        ELSE format('-- %s %s (%s)%s', initcap(r.kind), r.name, (
            SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
            FROM pg_attribute a WHERE a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped),
            ', ' || array_to_string(r.reloptions, ', ')) END AS line
    FROM relation r
    UNION ALL
    SELECT r.oid, 2, to_char(d.objsubid, '0000'),
           format('COMMENT ON %s IS %L;', CASE d.objsubid WHEN 0 THEN r.kind || ' ' || r.name ELSE format('COLUMN %s.%I', r.name, (
               SELECT attname FROM pg_attribute WHERE attrelid = r.oid AND attnum = d.objsubid)) END, d.description)
    FROM relation r JOIN pg_description d ON d.objoid = r.oid AND d.classoid = 'pg_class'::regclass
    UNION ALL
    SELECT r.oid, 3, k.conname, format('COMMENT ON CONSTRAINT %I ON %s IS %L;', k.conname, r.name, d.description)
    FROM relation r JOIN pg_constraint k ON k.conrelid = r.oid
    JOIN pg_description d ON d.objoid = k.oid AND d.classoid = 'pg_constraint'::regclass
    UNION ALL
    SELECT r.oid, 4, i.indexrelid::regclass::text, replace(pg_get_indexdef(i.indexrelid), ' ON public.', ' ON ') || ';'
           || coalesce(format(E'\nCOMMENT ON INDEX %s IS ', i.indexrelid::regclass)
                       || quote_literal(obj_description(i.indexrelid, 'pg_class')) || ';', '')
    FROM relation r JOIN pg_index i ON i.indrelid = r.oid
    WHERE NOT r.relispartition AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype <> 'f')
    UNION ALL
    SELECT r.oid, 5, '', format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY%s;', r.name,
                                CASE WHEN r.relforcerowsecurity THEN ', FORCE ROW LEVEL SECURITY' ELSE '' END)
    FROM relation r WHERE r.relrowsecurity
    UNION ALL
    SELECT r.oid, 6, p.polname, format('CREATE POLICY %I ON %s FOR %s TO %s USING (%s);', p.polname, r.name,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' ELSE 'ALL' END,
        (SELECT string_agg(u::regrole::text, ', ' ORDER BY u::regrole::text) FROM unnest(p.polroles) u),
        regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g'))
    FROM relation r JOIN pg_policy p ON p.polrelid = r.oid
    UNION ALL
    SELECT r.oid, 7, t.tgname, replace(pg_get_triggerdef(t.oid), ' ON public.', ' ON ') || ';'
    FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
    WHERE NOT t.tgisinternal AND NOT r.relispartition
    UNION ALL
    SELECT r.oid, 8, g.grantee, format('GRANT %s ON %s TO %s;', string_agg(
               g.privilege || coalesce(' (' || g.columns || ')', ''), ', ' ORDER BY g.privilege, g.columns), r.name, g.grantee)
    FROM relation r CROSS JOIN LATERAL (
        SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee,
               x.privilege_type AS privilege, NULL AS columns
        FROM aclexplode(r.relacl) x WHERE x.grantee <> r.relowner
        UNION ALL
        SELECT x.grantee::regrole::text, x.privilege_type, string_agg(a.attname, ', ' ORDER BY a.attnum)
        FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x
        WHERE a.attrelid = r.oid AND NOT a.attisdropped
        GROUP BY x.grantee, x.privilege_type) AS g
    GROUP BY r.oid, r.name, g.grantee
)
SELECT string_agg(line, E'\n' ORDER BY part, key COLLATE "C") FROM lines GROUP BY oid ORDER BY oid

-- name: routines
-- The functions and procedures of the platform by name: a commented signature, the comment, and privileges, as SQL.
SELECT concat_ws(E'\n',
    format('-- %s(%s)%s%s', p.oid::regproc, pg_get_function_arguments(p.oid), ' returns ' || pg_get_function_result(p.oid),
           CASE WHEN p.prosecdef THEN ', security definer' ELSE '' END),
    format('COMMENT ON ROUTINE %s IS ', p.oid::regprocedure) || quote_literal(obj_description(p.oid, 'pg_proc')) || ';',
    format('GRANT EXECUTE ON ROUTINE %s TO ', p.oid::regprocedure) || (
        SELECT string_agg(g.grantee, ', ' ORDER BY g.grantee COLLATE "C") FROM (
            SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee
            FROM aclexplode(p.proacl) x WHERE x.grantee <> p.proowner) AS g) || ';')
FROM pg_proc p
WHERE p.pronamespace IN ('public'::regnamespace, 'ops'::regnamespace)
ORDER BY p.pronamespace = 'ops'::regnamespace, p.proname COLLATE "C", p.oid

-- name: event_triggers
-- The event triggers, as SQL. They exist only if a superuser upgraded the database.
SELECT format('CREATE EVENT TRIGGER %I ON %s EXECUTE FUNCTION %s();', evtname, evtevent, evtfoid::regproc)
FROM pg_event_trigger WHERE evtname LIKE 'energy\_forecast\_%' ORDER BY evtname
