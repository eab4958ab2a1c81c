CREATE OR REPLACE FUNCTION ops.retention_due(counted boolean DEFAULT false)
    RETURNS TABLE (table_name text, partition_name text, range_start timestamptz, range_end timestamptz,
                   kept_lead_hours integer,
                   row_count bigint, byte_count bigint, revision_count bigint, score_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    policy record;
    part record;
BEGIN
    FOR policy IN SELECT * FROM ops.retention_policies p
                  WHERE p.keep IS NOT NULL OR p.thin_after IS NOT NULL ORDER BY p.table_name LOOP
        table_name := policy.table_name;
        IF NOT policy.by_month THEN
            partition_name := NULL;
            kept_lead_hours := NULL;
            revision_count := NULL;
            score_count := 0;
            FOR range_start, range_end, row_count, byte_count IN EXECUTE format(
                'SELECT m.month, least(m.month + interval ''1 month'', %1$L), m.row_count, m.byte_count FROM ('
                'SELECT date_trunc(''month'', t.%4$I, ''UTC'') AS month, count(*) AS row_count,'
                ' sum(pg_column_size(t.*)) AS byte_count FROM %3$I.%2$I t WHERE t.%4$I < %1$L GROUP BY 1) m'
                ' ORDER BY 1', now() - policy.keep, policy.table_name,
                CASE policy.table_name WHEN 'rejected_rows' THEN 'ops' ELSE 'public' END,
                CASE policy.table_name WHEN 'rejected_rows' THEN 'created_at' ELSE 'timestamp' END)
            LOOP
                RETURN NEXT;
            END LOOP;
            CONTINUE;
        END IF;
        FOR part IN SELECT p.*, coalesce(p.range_end <= now() - policy.keep, false) AS is_expired FROM ops.partitions() p
                    WHERE p.table_name = policy.table_name
                      AND (p.range_end <= now() - policy.keep
                           OR p.range_end <= now() - policy.thin_after AND NOT p.detach_pending
                           AND coalesce(ops.thinned_to(p.partition_name) > policy.kept_lead_hours, true))
                    ORDER BY p.range_start LOOP
            kept_lead_hours := CASE WHEN NOT part.is_expired THEN policy.kept_lead_hours END;
            partition_name := part.partition_name;
            range_start := part.range_start;
            range_end := part.range_end;
            byte_count := part.byte_count;
            row_count := NULL;
            revision_count := NULL;
            score_count := CASE WHEN policy.table_name = 'prediction_vintages' AND policy.keep_scored
                                THEN ops.scores_of_vintages(part.range_start, part.range_end) ELSE 0 END;
            IF counted AND kept_lead_hours IS NOT NULL THEN
                EXECUTE format('SELECT count(*) FILTER (WHERE timestamp - issued_at >= $1), CASE WHEN count(*) > 0 THEN'
                    ' $2 * count(*) FILTER (WHERE timestamp - issued_at >= $1) / count(*) ELSE 0 END'
                    ' FROM public.%1$I WHERE %2$I >= %3$L AND %2$I < %4$L',
                    policy.table_name, part.key_column, part.range_start, part.range_end)
                INTO row_count, byte_count USING make_interval(hours => kept_lead_hours), part.byte_count;
            ELSIF counted THEN
                EXECUTE format('SELECT count(*) FROM public.%1$I WHERE %2$I >= %3$L AND %2$I < %4$L',
                    policy.table_name, part.key_column, part.range_start, part.range_end) INTO row_count;
                IF policy.table_name IN ('energy_consumption', 'weather_data') THEN
                    EXECUTE format('SELECT count(*) FROM public.%I WHERE timestamp >= %L AND timestamp < %L',
                        policy.table_name || '_revisions', part.range_start, part.range_end) INTO revision_count;
                END IF;
            END IF;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.retention_due(boolean) IS
    'The months that the retention policies remove or (with kept_lead_hours) thin now; a month to which scores refer is listed but not removed. Bytes of a month to thin are estimated';
