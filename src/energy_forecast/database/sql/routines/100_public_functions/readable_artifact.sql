-- Users have no privilege on the artifacts: they get those of their cities, to explain a forecast with them
CREATE OR REPLACE FUNCTION readable_artifact(model uuid, city uuid)
    RETURNS TABLE (id uuid, name text, version text, trained_until timestamptz, artifact bytea, sha256 bytea, training_facts jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT m.id, m.name::text, m.version::text, m.trained_until, a.artifact, a.sha256, a.training_facts
    FROM public.model_artifacts a JOIN public.models m ON m.id = a.model_id
    WHERE a.model_id = model AND a.city_id = city;
END $$;
COMMENT ON FUNCTION readable_artifact(uuid, uuid) IS
    'The fitted parameters of a model version for a city, which were trained with the data of this city; no row if the acting role may not see it';
