/* By local time: a repeated hour of a local day counts twice, a skipped one not at all. In a half-hour zone UTC hours start
   at half past and are shown so. */
CREATE OR REPLACE VIEW hour_of_day_profile WITH (security_barrier) AS
SELECT h.city_id, h.city, (h.hour AT TIME ZONE c.timezone)::time AS local_time,
       avg(h.total_consumption) AS mean_kwh, min(h.total_consumption) AS lowest_kwh,
       max(h.total_consumption) AS highest_kwh, max(h.peak_demand) AS peak_kw,
       count(*) AS hours, count(DISTINCT (h.hour AT TIME ZONE c.timezone)::date) AS local_days
FROM city_hourly_consumption h
JOIN cities c ON c.id = h.city_id
WHERE h.covered_minutes = 60
GROUP BY h.city_id, h.city, local_time;
COMMENT ON VIEW hour_of_day_profile IS
    'Consumption of a city in the hour that starts at each local time of day (kWh, kW), over the last 30 days; complete hours only';
