-- name: recent
-- Consumption of a city by hour, kWh, with peak demand, kW, and the known minutes of the hour.
SELECT hour, local_hour, total_consumption, peak_demand, minutes_known
FROM recent_consumption(%(city)s, %(hours)s, %(until)s)

-- name: daily
-- Consumption of a city by local day, kWh, with the hours of the day and the known hours.
SELECT local_date, hours, hours_known, total_consumption, peak_demand, is_complete
FROM daily_consumption(%(city)s, %(first_day)s, %(last_day)s)

-- name: local_days
-- The local days of a city that contain the last hours before a time.
SELECT ((%(until)s::timestamptz - make_interval(hours => %(hours)s)) AT TIME ZONE timezone)::date,
       ((%(until)s::timestamptz - interval '1 microsecond') AT TIME ZONE timezone)::date
FROM cities WHERE id = %(city)s

-- name: last_known
-- The start of the last stored consumption interval of a city up to a time; null without one.
SELECT max(timestamp) FROM energy_consumption WHERE city_id = %(city)s AND timestamp < %(until)s

-- name: weather_correlation
-- Mean hourly consumption of a city, kWh, by temperature bin, degrees Celsius.
SELECT temperature, temperature_end, avg_consumption, sample_count
FROM weather_correlation(%(city)s, %(days)s, %(bin)s, %(until)s)

-- name: weather_correlation_inputs
-- The hours that a correlation includes, those that it excludes by reason, and Pearson's coefficient.
SELECT count(*) FILTER (WHERE minutes_known = 60 AND temperature IS NOT NULL) AS hours,
       count(*) FILTER (WHERE minutes_known <> 60) AS part_hours,
       count(*) FILTER (WHERE minutes_known = 60 AND temperature IS NULL) AS hours_without_weather,
       corr(total_consumption::float8, temperature::float8)
           FILTER (WHERE minutes_known = 60 AND temperature IS NOT NULL) AS coefficient
FROM consumption_with_temperature(%(city)s, %(until)s::timestamptz - make_interval(hours => 24 * %(days)s), %(until)s)

-- name: model_performance
-- Model versions by their scores of the last days: MAPE in percent, RMSE and MAE in kWh in an hour.
SELECT name, version, purpose, weather, avg_mape, avg_rmse, avg_mae, coverage_90, prediction_count, city_count,
       assumptions
FROM model_performance(%(days)s, %(until)s)
