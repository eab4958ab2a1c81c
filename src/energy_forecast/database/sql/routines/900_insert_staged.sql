/* Runs as the login that upgrades. The foreign key to cities is checked row by row at 4 microseconds each, as much as the
   rest of an insert. A batch has few cities and many rows, so this function checks and locks each city once, FOR KEY SHARE
   like the trigger of the key, and then inserts with that trigger disabled. The key stays in the schema and remains valid:
   a city cannot be deleted before the batch has ended.

   Only a superuser can grant the privilege to disable the trigger. A separate role has it, which owns only this function
   and has no members. Without a superuser the function belongs to the owner and inserts with the trigger enabled. No other
   trigger is disabled: every trigger of the platform fires ALWAYS, and if the table has a trigger or foreign key of another
   owner, all of them fire. */
DO $$
DECLARE
    is_superuser boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
    IF NOT is_superuser AND (SELECT p.proowner <> 'energy_forecast_owner'::regrole FROM pg_proc p
                             WHERE p.oid = to_regprocedure('ops.insert_staged(text, boolean)')) THEN
        RETURN;  -- A superuser created it, and only a superuser can replace it
    END IF;
    IF is_superuser AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'energy_forecast_loader') THEN
        BEGIN
            CREATE ROLE energy_forecast_loader NOLOGIN;
            COMMENT ON ROLE energy_forecast_loader IS 'Inserts the staged rows of a batch; has no members';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- A concurrent upgrade of another database of this server created it first
        END;
    END IF;
    IF NOT is_superuser THEN
        SET LOCAL ROLE energy_forecast_owner;
    END IF;
    CREATE OR REPLACE FUNCTION ops.insert_staged(kind text, only_new boolean) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER
        SET search_path = pg_catalog, public, pg_temp
        SET timezone = 'UTC'
        AS $function$
    DECLARE
        target regclass := CASE kind WHEN 'consumption' THEN 'public.energy_consumption'
                                     WHEN 'weather' THEN 'public.weather_data' END;
        value_columns text := CASE kind WHEN 'consumption' THEN 'consumption_kwh, peak_demand_kw'
                                        ELSE 'temperature, humidity, wind_speed, precipitation' END;
        value_places text := CASE kind WHEN 'consumption' THEN 's.value_1, s.value_2'
                                       ELSE 's.value_1, s.value_2, s.value_3, s.value_4' END;
        city_ids uuid[];
        found integer;
        inserted bigint;
        before text := current_setting('session_replication_role');
        in_bulk boolean := current_user = 'energy_forecast_loader'
            AND has_parameter_privilege(current_user, 'session_replication_role', 'SET');
    BEGIN
        IF target IS NULL THEN
            RAISE EXCEPTION 'Unknown kind of rows: %', kind USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- The tables belong to the caller, so only plain tables of built-in types: other code in a SELECT would run as
        -- the owner of this function
        IF EXISTS (SELECT FROM pg_class c
                   WHERE c.relnamespace = pg_my_temp_schema() AND c.relname IN ('staged', 'staged_cities', 'spans', 'differing')
                     AND (c.relkind <> 'r' OR c.relrowsecurity OR c.relhassubclass OR c.relchecks > 0
                          -- The planner may evaluate expressions of a CHECK or an index
                          OR EXISTS (SELECT FROM pg_index i
                                     WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
                          OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                                       AND (t.typnamespace <> 'pg_catalog'::regnamespace OR a.attgenerated <> '')))) THEN
            RAISE EXCEPTION 'The staged rows are not plain tables' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        in_bulk := in_bulk AND NOT EXISTS (
            SELECT FROM pg_trigger t LEFT JOIN pg_constraint c ON c.oid = t.tgconstraint
            WHERE t.tgrelid IN (SELECT p.relid FROM pg_partition_tree(target) p)
              AND t.tgtype & 4 <> 0 AND t.tgenabled NOT IN ('A', 'D')
              AND NOT coalesce(c.contype = 'f' AND c.confrelid = 'public.cities'::regclass
                               AND c.conkey = ARRAY[(SELECT a.attnum FROM pg_attribute a
                                                     WHERE a.attrelid = t.tgrelid AND a.attname = 'city_id')], false));
        IF in_bulk THEN
            -- Empty, not null: null means that the trigger of the key checks the rows
            SELECT coalesce(array_agg(DISTINCT k.city_id), '{}') INTO city_ids
            FROM pg_temp.staged_cities k
            WHERE EXISTS (SELECT FROM pg_temp.spans p WHERE p.city_no = k.city_no);
            PERFORM FROM public.cities c WHERE c.id = ANY (city_ids) ORDER BY c.id FOR KEY SHARE;
            GET DIAGNOSTICS found = ROW_COUNT;
            IF found <> cardinality(city_ids) THEN
                RAISE EXCEPTION 'A city of the batch was deleted' USING ERRCODE = 'foreign_key_violation';
            END IF;
            PERFORM set_config('session_replication_role', 'replica', true);
        END IF;
        -- In key order, so that the index grows only at its end
        EXECUTE format(CASE WHEN only_new THEN $new$
            INSERT INTO %s (id, city_id, timestamp, %s, available_at, interval_minutes)
            SELECT coalesce(s.id, gen_random_uuid()), s.city_id, s.timestamp, %s,
                   coalesce(s.available_at, s.timestamp + make_interval(mins => s.interval_minutes)), s.interval_minutes
            FROM pg_temp.differing s WHERE s.verdict = 'new' AND ($1 IS NULL OR s.city_id = ANY ($1))
            ORDER BY s.city_id, s.timestamp $new$
        ELSE $all$
            INSERT INTO %s (id, city_id, timestamp, %s, available_at, interval_minutes)
            SELECT coalesce(s.id, gen_random_uuid()), k.city_id, s.timestamp, %s,
                   coalesce(s.available_at,
                            s.timestamp + make_interval(mins => coalesce(s.interval_minutes, k.interval_minutes))),
                   coalesce(s.interval_minutes, k.interval_minutes)
            FROM pg_temp.staged s JOIN pg_temp.staged_cities k USING (city_no)
            WHERE $1 IS NULL OR k.city_id = ANY ($1)
            ORDER BY k.city_id, s.timestamp $all$ END, target, value_columns, value_places) USING city_ids;
        GET DIAGNOSTICS inserted = ROW_COUNT;
        IF in_bulk THEN
            PERFORM set_config('session_replication_role', before, true);
        END IF;
        RETURN inserted;
    END $function$;
    COMMENT ON FUNCTION ops.insert_staged(text, boolean) IS
        'Inserts the staged rows of a batch, all or only the new ones; each city is checked and locked once';
    REVOKE ALL ON FUNCTION ops.insert_staged(text, boolean) FROM PUBLIC;
    -- As with audit_ddl_func: grants.sql revokes privileges as the owner
    GRANT EXECUTE ON FUNCTION ops.insert_staged(text, boolean) TO energy_forecast_owner, energy_forecast_ingest;
    IF is_superuser THEN
        GRANT energy_forecast_ingest TO energy_forecast_loader;
        EXECUTE 'GRANT SET ON PARAMETER session_replication_role TO energy_forecast_loader';
        ALTER FUNCTION ops.insert_staged(text, boolean) OWNER TO energy_forecast_loader;
        GRANT EXECUTE ON FUNCTION ops.insert_staged(text, boolean) TO energy_forecast_owner, energy_forecast_ingest;
    ELSE
        RESET ROLE;
    END IF;
END $$;
