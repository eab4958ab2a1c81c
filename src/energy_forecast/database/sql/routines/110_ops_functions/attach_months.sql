/* The long part comes first, the key and the digests. Then all locks are taken: SHARE UPDATE EXCLUSIVE on the parent, which
   blocks neither readers nor writers, and SHARE ROW EXCLUSIVE on cities, whose writers wait while ATTACH checks the
   foreign key. */
CREATE OR REPLACE FUNCTION ops.attach_months(parent text, months timestamptz[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
    AS $$
DECLARE
    partitions text[] := ARRAY(SELECT parent || to_char(m, '"_y"YYYY"m"MM') FROM unnest(months) m ORDER BY m);
    name text;
BEGIN
    FOREACH name IN ARRAY partitions LOOP
        IF ops.loading_table(name) IS NULL THEN
            RAISE EXCEPTION 'This transaction has not begun %', name USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- The privilege granted by ops.begin_month()
        EXECUTE (SELECT format('REVOKE INSERT (%s) ON %s FROM energy_forecast_ingest',
                               string_agg(quote_ident(a.attname), ', '), a.attrelid::regclass)
                 FROM pg_attribute a WHERE a.attrelid = ops.loading_table(name) AND a.attacl IS NOT NULL GROUP BY a.attrelid);
        -- As a constraint of the table, because ATTACH accepts no other
        EXECUTE (SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s',
                               ops.loading_table(name), name || '_pkey', pg_get_constraintdef(k.oid))
                 FROM pg_constraint k WHERE k.conrelid = format('public.%I', parent)::regclass AND k.contype = 'p');
    END LOOP;
    INSERT INTO ops.attached_months (table_name, partition_name) SELECT parent, n FROM unnest(partitions) n;
    -- One session at a time creates partitions
    PERFORM pg_advisory_xact_lock(hashtext('energy_forecast partitions'));
    -- From now on no trigger can be added; a trigger added meanwhile has not seen the rows
    EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE UPDATE EXCLUSIVE MODE', parent);
    IF ops.months_loaded_before(parent) < date_trunc('month', now()) THEN
        RAISE EXCEPTION 'A trigger was added to % meanwhile', parent
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    FOR position IN 1..cardinality(partitions) LOOP
        name := partitions[position];
        IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'public'::regnamespace) THEN
            RAISE EXCEPTION 'Another session created % meanwhile', name USING ERRCODE = 'duplicate_table';
        END IF;
        EXECUTE format('ALTER TABLE %s SET SCHEMA public', ops.loading_table(name));
        EXECUTE format('ALTER TABLE public.%I RENAME TO %I', name || '_' || pg_current_xact_id()::text, name);
        PERFORM public.attach_month_table(parent, name, to_timestamp(right(name, 7), 'YYYY"m"MM'));
    END LOOP;
END $$;
COMMENT ON FUNCTION ops.attach_months(text, timestamptz[]) IS
    'Attaches the months that this transaction has filled to their table, with key, audit and guards';
