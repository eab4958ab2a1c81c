/* The hours of the roll-up, and the hours changed since, from the facts: together the present result of the definition of
   hourly_consumption. Both branches begin at the city, so that a condition on its id reaches the indexes. The list of cities
   is computed once per statement. With security_barrier, no function in a user's WHERE sees a row of another city;
   PostgreSQL drops the barrier of a view that is itself a UNION ALL, so the union is in a subquery. */
CREATE OR REPLACE VIEW city_hourly_consumption WITH (security_barrier) AS
SELECT u.* FROM (
SELECT c.id AS city_id, c.name AS city, r.hour, r.total_consumption, r.peak_demand, r.covered_minutes
FROM cities c
JOIN hourly_consumption_rollup r ON r.city_id = c.id
CROSS JOIN LATERAL (
    SELECT min(k.first_hour) AS first_hour, max(k.last_hour) AS last_hour
    FROM ops.changed_consumption k WHERE k.city_id = c.id) x
WHERE c.id = ANY ((SELECT readable_cities())::uuid[])
  AND r.hour >= date_trunc('hour', now() - interval '720 hours', 'UTC')
  AND (r.hour BETWEEN x.first_hour AND x.last_hour) IS NOT TRUE
UNION ALL
SELECT c.id, c.name, h.hour, h.total_consumption, h.peak_demand, h.minutes_known
FROM cities c
CROSS JOIN LATERAL (
    SELECT min(k.first_hour) AS first_hour, max(k.last_hour) AS last_hour
    FROM ops.changed_consumption k WHERE k.city_id = c.id) x
CROSS JOIN LATERAL consumption_from_values(
    c.id, greatest(x.first_hour, date_trunc('hour', now() - interval '720 hours', 'UTC')),
    x.last_hour + interval '1 hour', 0) h
WHERE c.id = ANY ((SELECT readable_cities())::uuid[]) AND x.first_hour IS NOT NULL
) AS u;
COMMENT ON VIEW city_hourly_consumption IS
    'Present consumption by UTC hour over the last 30 days of the readable cities; the hours of hourly_consumption, always current';
