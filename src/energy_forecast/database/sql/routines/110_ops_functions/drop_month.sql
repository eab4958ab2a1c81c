/* One transaction for the ledger row and the drop, so that a crash leaves both or neither. The rows are digested, summed for
   the audit log and, if the month is thinned, copied while other sessions read and write. Then this transaction needs
   exclusive locks on the parent, the partition and the tables of its foreign keys for some milliseconds. Each wait ends
   after 150 ms, during which others queue behind it, and is tried again.
   No lock is held meanwhile, because a writer whose month is only known at run time locks every partition, including old
   ones. So once it has the locks, it checks that the rows are still those of the digest: the same number, and of the rows
   that a then open transaction may have written, the same row versions (70 to 90 ms for a month of 100 cities, on a busy
   machine). */
CREATE OR REPLACE FUNCTION ops.drop_month(
    dropped text, run uuid DEFAULT NULL,
    OUT outcome text, OUT row_count bigint, OUT byte_count bigint, OUT revision_count bigint, OUT detail text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    part record;
    removed record;
    revisions record;
    oldest_open xid;
    state_query text;
    state numeric[];
    state_now numeric[];
    is_same boolean := true;
    -- Null: all rows are removed
    kept integer;
    replacement text := dropped || '_thinned';
BEGIN
    SELECT p.*, r.keep, r.thin_after, r.kept_lead_hours, r.keep_scored INTO part
    FROM ops.partitions() p JOIN ops.retention_policies r USING (table_name)
    WHERE p.partition_name = dropped AND r.by_month;
    IF NOT FOUND THEN
        outcome := 'gone';
        RETURN;
    ELSIF (part.range_end <= now() - part.keep) IS NOT TRUE THEN
        kept := part.kept_lead_hours;
        IF (part.range_end <= now() - part.thin_after) IS NOT TRUE OR part.detach_pending
           OR ops.thinned_to(dropped) <= kept THEN
            outcome := 'not due';
            RETURN;
        END IF;
    END IF;
    PERFORM set_config('lock_timeout', '5s', true);
    IF part.table_name = 'prediction_vintages' AND part.keep_scored THEN
        -- No new score may refer to the vintages that are removed
        LOCK TABLE public.forecast_scores IN SHARE MODE;
        detail := ops.scores_of_vintages(part.range_start, part.range_end);
        IF detail <> '0' THEN
            outcome := 'kept';
            detail := detail || ' stored scores refer to it';
            RETURN;
        END IF;
        detail := NULL;
    END IF;
    IF part.detach_pending THEN
        -- A DETACH CONCURRENTLY was interrupted; the parent no longer shows the rows, so they are read from the
        -- partition
        EXECUTE format('ALTER TABLE public.%I DETACH PARTITION public.%I FINALIZE', part.table_name, dropped);
        EXECUTE format('ALTER TABLE public.%I NO FORCE ROW LEVEL SECURITY', dropped);
    END IF;
    IF part.table_name IN ('energy_consumption', 'weather_data') AND kept IS NULL THEN
        -- Without the current values, point-in-time reads would return superseded values
        revisions := ops.digest_rows(part.table_name || '_revisions', 'timestamp', part.range_start, part.range_end, true);
        revision_count := revisions.row_count;
        IF revision_count > 0 THEN
            INSERT INTO ops.dropped_data
                (run_id, table_name, range_start, range_end, row_count, byte_count, digest, keep)
            VALUES (run, part.table_name || '_revisions', part.range_start, part.range_end, revisions.row_count,
                    revisions.byte_count, revisions.digest, part.keep);
        END IF;
    END IF;
    oldest_open := pg_snapshot_xmin(pg_current_snapshot())::xid;
    state_query := format(
        'SELECT ARRAY[count(*), coalesce(sum(hashtextextended(t.xmin::text || t.ctid::text, 0))'
        '                                FILTER (WHERE age(t.xmin) <= age($1)), 0)]'
        ' FROM public.%1$I t WHERE t.%2$I >= %3$L AND t.%2$I < %4$L',
        part.table_name, part.key_column, part.range_start, part.range_end);
    EXECUTE state_query INTO state USING oldest_open;
    removed := ops.digest_rows(CASE WHEN part.detach_pending THEN dropped ELSE part.table_name END,
                             part.key_column, part.range_start, part.range_end, least_lead_hours => kept);
    byte_count := part.byte_count;
    IF kept IS NOT NULL THEN
        PERFORM ops.make_thinned_month(part.table_name, part.key_column, part.range_start, part.range_end, kept, replacement);
        byte_count := byte_count - pg_total_relation_size(format('public.%I', replacement)::regclass);
    END IF;
    row_count := removed.row_count;
    INSERT INTO ops.dropped_data
        (run_id, table_name, partition_name, range_start, range_end, row_count, byte_count, digest, keep, kept_lead_hours)
    VALUES (run, part.table_name, dropped, part.range_start, part.range_end, row_count, greatest(byte_count, 0),
            removed.digest, CASE WHEN kept IS NULL THEN part.keep ELSE part.thin_after END, kept);
    FOR attempt IN 1..10 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '150ms', true);
            IF NOT part.detach_pending THEN
                EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', part.table_name);
                EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', dropped);
                EXECUTE state_query INTO state_now USING oldest_open;
                is_same := state = state_now;
                EXIT WHEN NOT is_same;
            END IF;
            EXECUTE format('DROP TABLE public.%I', dropped);
            outcome := 'dropped';
            IF kept IS NOT NULL THEN
                EXECUTE format('ALTER TABLE public.%I RENAME TO %I', replacement, dropped);
                EXECUTE format('ALTER INDEX public.%I RENAME TO %I', replacement || '_pkey', dropped || '_pkey');
                PERFORM public.attach_month_table(part.table_name, dropped, part.range_start);
                EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT in_month', dropped);
                outcome := 'thinned';
            END IF;
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(0.1 * attempt);
        END;
    END LOOP;
    RAISE EXCEPTION 'busy' USING ERRCODE = 'lock_not_available';
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        -- All changes of this function are rolled back
        outcome := 'busy';
        row_count := NULL;
        byte_count := NULL;
        revision_count := NULL;
        detail := CASE WHEN is_same THEN (
            SELECT string_agg(DISTINCT l.pid::text, ', ')
            FROM pg_locks l
            WHERE l.granted AND l.pid <> pg_backend_pid() AND l.locktype = 'relation'
              AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
              AND l.relation IN (to_regclass('public.' || quote_ident(dropped)),
                                 to_regclass('public.' || quote_ident(part.table_name)),
                                 'public.cities'::regclass, 'public.forecast_runs'::regclass)) END;
    WHEN undefined_table THEN
        -- Another session dropped it first
        outcome := 'gone';
END $$;
COMMENT ON FUNCTION ops.drop_month(text, uuid) IS
    'Drops or thins one monthly partition as its policy requires now, with a row in ops.dropped_data: dropped, thinned, gone, not due, kept, or busy (detail: the backends that use it)';
