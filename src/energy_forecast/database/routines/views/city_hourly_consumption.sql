/* A materialized view shows every row to everyone who may read it, so people read it through this one. The list of
   cities is worked out once a statement; as a barrier, no function in a reader's WHERE sees a row of another city. */
CREATE OR REPLACE VIEW city_hourly_consumption WITH (security_barrier) AS
SELECT h.city_id, c.name AS city, h.hour, h.total_consumption, h.peak_demand, h.covered_minutes,
       r.refreshed_at, now() - r.refreshed_at AS staleness
FROM hourly_consumption h
JOIN cities c ON c.id = h.city_id
LEFT JOIN LATERAL (
    SELECT v.refreshed_at FROM ops.view_refreshes v
    WHERE v.view_name = 'hourly_consumption' ORDER BY v.refreshed_at DESC LIMIT 1) r ON true
WHERE h.city_id = ANY (ARRAY(SELECT k.id FROM cities k WHERE may_read_city(k.id)));
COMMENT ON VIEW city_hourly_consumption IS
    'hourly_consumption of the cities that one may see, with how stale it is; values recorded after refreshed_at are not in it';
