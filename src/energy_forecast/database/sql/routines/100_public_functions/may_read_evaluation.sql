CREATE OR REPLACE FUNCTION may_read_evaluation(model uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
    SELECT EXISTS (SELECT FROM public.model_artifacts a WHERE a.model_id = model)
       AND NOT EXISTS (SELECT FROM public.model_artifacts a
                       WHERE a.model_id = model AND NOT public.may_read_city(a.city_id))
$$;
COMMENT ON FUNCTION may_read_evaluation(uuid) IS
    'Whether the acting role may see a mean over all cities of a model version: only if it may see each of them';
