-- Notes and fallback levels of a run may name the cities of others, so a reader gets those of one city that they may see
CREATE OR REPLACE FUNCTION run_notes(run uuid, city uuid) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT jsonb_build_object(
            'fallback', nullif(r.fallback_levels -> c.name, 'null'),
            'remarks', coalesce(r.notes -> c.name, '[]'),
            'level', r.fallback_levels -> c.name -> 'level',
            'notes', coalesce(r.notes -> c.name, '[]') || coalesce(r.fallback_levels -> c.name -> 'reasons', '[]'))
        FROM public.forecast_runs r JOIN public.cities c ON c.id = city
        WHERE r.id = run);
END $$;
COMMENT ON FUNCTION run_notes(uuid, uuid) IS
    'For a city of a run: `level`, the fallback level, and `notes`, the remarks and the reasons of that level; and, for explanations, the stored `fallback` and `remarks`';
