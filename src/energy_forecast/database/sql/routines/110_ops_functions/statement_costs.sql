/* The cost of each statement of this database since the last reset of the statistics. The extension may be in any schema. If
   it is missing, this function fails; the query `statistics` in queries/query_stats.sql checks this before. A statement that
   several roles ran, or that also ran inside a function, is one row. */
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
    'The cost of each statement of this database since the last reset, by pg_stat_statements: milliseconds, rows, blocks of 8 kB';
