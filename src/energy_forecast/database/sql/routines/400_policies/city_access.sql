/* Every table with a city column gets the policy, so a new table needs no entry here. A partition gets no policy, so that
   bound roles can only read through its parent. The list of cities is an ARRAY subquery, which is computed once per
   statement, not per row, and can use an index. */
DO $$
DECLARE
    relation record;
BEGIN
    FOR relation IN
        SELECT c.oid::regclass AS name, c.relispartition, c.relrowsecurity AND c.relforcerowsecurity AS bound,
               c.relname = 'cities' AS is_cities,
               EXISTS (SELECT FROM pg_attribute a
                       WHERE a.attrelid = c.oid AND a.attname = 'city_id' AND NOT a.attisdropped) AS has_city
        FROM pg_class c
        WHERE c.relnamespace IN ('public'::regnamespace, 'ops'::regnamespace) AND c.relkind IN ('r', 'p')
          AND c.relname <> 'user_city_access'
    LOOP
        CONTINUE WHEN NOT relation.has_city AND NOT relation.is_cities;
        IF NOT relation.bound THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', relation.name);
        END IF;
        CONTINUE WHEN relation.relispartition;
        EXECUTE format('DROP POLICY IF EXISTS city_access ON %s', relation.name);
        EXECUTE format(
            'CREATE POLICY city_access ON %s FOR SELECT TO energy_forecast_app USING (%I = ANY (ARRAY('
            'SELECT a.city_id FROM public.user_city_access a WHERE a.user_id = current_user)))',
            relation.name, CASE WHEN relation.is_cities THEN 'id' ELSE 'city_id' END);
        EXECUTE format('DROP POLICY IF EXISTS platform ON %s', relation.name);
        -- The platform's roles see every city; the owner as well, because functions run as the owner
        EXECUTE format(
            'CREATE POLICY platform ON %s FOR ALL TO energy_forecast_owner, energy_forecast_ingest,'
            ' energy_forecast_forecaster, energy_forecast_operator, energy_forecast_auditor USING (true)',
            relation.name);
    END LOOP;
END $$;
