/* The newest forecast of the champion at that time, or of a model that was used in its place (a fallback level above 0).
   Without a champion, and with `model_name`, the newest one of all models or of that one. By default only live runs: a replay or
   backtest was made later, so nobody could have used it. Replays count by their time of issue, for those who ask for them. A forecast older than eight days has no hour ahead. The run is chosen first,
   so that the arrays of one row are read. */
CREATE OR REPLACE FUNCTION served_forecast(city uuid, as_of timestamptz, model_name text DEFAULT NULL, run_purpose text DEFAULT 'live')
    RETURNS TABLE (run_id uuid, issued_at timestamptz, recorded_at timestamptz, model text, version text, purpose text,
                   weather text, champion boolean, fallback_level integer, notes text[], quantile_levels double precision[],
                   interval_minutes integer, first_timestamp timestamptz, predicted double precision[], quantiles real[],
                   issued_before timestamptz)
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED
    SET search_path = pg_catalog, public, pg_temp
    SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    champion_id uuid;
    chosen record;
    place_notes jsonb;
    oldest timestamptz := as_of - interval '8 days';
BEGIN
    IF NOT public.may_read_city(city) THEN
        RETURN;
    END IF;
    SELECT p.model_id INTO champion_id FROM public.model_promotions p WHERE p.city_id = city AND p.during @> as_of;
    SELECT v.run_id, v.issued_at, v.model_id INTO chosen
    FROM public.prediction_vintages v
    JOIN public.forecast_runs r ON r.id = v.run_id
    JOIN public.models m ON m.id = v.model_id
    JOIN public.cities c ON c.id = v.city_id
    WHERE v.city_id = city AND v.issued_at > oldest AND v.issued_at <= as_of AND (v.created_at <= as_of OR run_purpose <> 'live')
      AND r.purpose = run_purpose
      AND CASE WHEN model_name IS NOT NULL THEN m.name = model_name
          ELSE champion_id IS NULL OR v.model_id = champion_id
              OR coalesce((r.fallback_levels -> c.name ->> 'level')::integer, 0) > 0 END
    ORDER BY v.issued_at DESC, v.created_at DESC, v.run_id DESC
    LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    place_notes := public.run_notes(chosen.run_id, city);
    RETURN QUERY
    SELECT v.run_id, v.issued_at, v.created_at, m.name::text, m.version::text, r.purpose, r.weather,
           champion_id IS NOT DISTINCT FROM v.model_id, (place_notes ->> 'level')::integer,
           ARRAY(SELECT jsonb_array_elements_text(place_notes -> 'notes')), r.quantile_levels, v.interval_minutes::integer,
           v.first_timestamp, v.predicted_consumption, v.quantiles,
           (SELECT b.issued_at FROM public.prediction_vintages b JOIN public.forecast_runs br ON br.id = b.run_id
            WHERE b.city_id = city AND b.issued_at > oldest AND b.issued_at < chosen.issued_at AND b.model_id = chosen.model_id
              AND br.purpose = run_purpose
            ORDER BY b.issued_at DESC LIMIT 1)
    FROM public.prediction_vintages v
    JOIN public.forecast_runs r ON r.id = v.run_id
    JOIN public.models m ON m.id = v.model_id
    WHERE v.city_id = city AND v.issued_at = chosen.issued_at AND v.run_id = chosen.run_id;
END $$;
COMMENT ON FUNCTION served_forecast(uuid, timestamptz, text, text) IS
    'The forecast of a city that was in use at a time: one row with its run, its notes, and the values of all intervals in order, kWh';
