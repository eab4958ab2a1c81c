/* What each statement of this database has cost since the server began to count. The extension may be in any schema, or
   missing: then this fails, and `statistics` in queries/query_stats.sql says so before. A statement that several roles ran, or
   that ran inside a function as well, is one row. */
CREATE OR REPLACE FUNCTION ops.statement_costs()
    RETURNS TABLE (query text, role_names text[], calls bigint, total_ms double precision, mean_ms double precision,
                   max_ms double precision, row_count bigint, blocks_read bigint, blocks_hit bigint)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT min(s.query), array_agg(DISTINCT pg_get_userbyid(s.userid)::text), sum(s.calls)::bigint,'
        '       sum(s.total_exec_time), sum(s.total_exec_time) / greatest(sum(s.calls)::float8, 1), max(s.max_exec_time),'
        '       sum(s.rows)::bigint, sum(s.shared_blks_read)::bigint, sum(s.shared_blks_hit)::bigint'
        ' FROM %s.pg_stat_statements s'
        ' WHERE s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())'
        ' GROUP BY s.queryid', (SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_stat_statements'));
END $$;
COMMENT ON FUNCTION ops.statement_costs() IS
    'What each statement of this database has cost since the server began to count, by pg_stat_statements: milliseconds, rows, blocks of 8 kB';
