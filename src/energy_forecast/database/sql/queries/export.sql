-- name: consumption
-- Present consumption of a city: kWh in the interval, kW.
SELECT %(name)s::text AS city, iso_utc(timestamp) AS timestamp, consumption_kwh, peak_demand_kw,
       iso_utc(available_at) AS available_at, interval_minutes
FROM energy_consumption
WHERE city_id = %(city)s::uuid AND timestamp >= %(first)s::timestamptz AND timestamp < %(end)s::timestamptz
ORDER BY energy_consumption.timestamp

-- name: consumption_as_of
-- Consumption of a city as known at a time: kWh in the interval, kW.
SELECT %(name)s::text AS city, iso_utc(timestamp) AS timestamp, consumption_kwh, peak_demand_kw,
       iso_utc(available_at) AS available_at, interval_minutes
FROM consumption_as_of(%(city)s::uuid, %(as_of)s::timestamptz, %(first)s::timestamptz, %(end)s::timestamptz) c
ORDER BY c.timestamp

-- name: weather
-- Present observed weather of a city: degrees Celsius, percent, m/s, mm.
SELECT %(name)s::text AS city, iso_utc(timestamp) AS timestamp, temperature, humidity, wind_speed, precipitation,
       iso_utc(available_at) AS available_at, interval_minutes
FROM weather_data
WHERE city_id = %(city)s::uuid AND timestamp >= %(first)s::timestamptz AND timestamp < %(end)s::timestamptz
ORDER BY weather_data.timestamp

-- name: weather_as_of
-- Observed weather of a city as known at a time: degrees Celsius, percent, m/s, mm.
SELECT %(name)s::text AS city, iso_utc(timestamp) AS timestamp, temperature, humidity, wind_speed, precipitation,
       iso_utc(available_at) AS available_at, interval_minutes
FROM weather_as_of(%(city)s::uuid, %(as_of)s::timestamptz, %(first)s::timestamptz, %(end)s::timestamptz) w
ORDER BY w.timestamp

-- name: predictions
-- The current forecasts of a city, every model version: kWh in the hour.
SELECT %(name)s::text AS city, m.name AS model, m.version, iso_utc(p.timestamp) AS timestamp, p.predicted_consumption,
       p.confidence_lower, p.confidence_upper, iso_utc(p.issued_at) AS issued_at, iso_utc(p.created_at) AS recorded_at
FROM predictions p JOIN models m ON m.id = p.model_id
WHERE p.city_id = %(city)s::uuid AND p.timestamp >= %(first)s::timestamptz AND p.timestamp < %(end)s::timestamptz
  AND (%(model)s::text IS NULL OR m.name = %(model)s::text)
ORDER BY p.timestamp, m.name, m.version::integer

-- name: predictions_as_of
-- The forecasts of a city that were live at a time, by model: kWh in the hour.
SELECT %(name)s::text AS city, f.model, f.version, iso_utc(f.timestamp) AS timestamp, f.predicted_consumption,
       round(f.confidence_lower::numeric, 2) AS confidence_lower, round(f.confidence_upper::numeric, 2) AS confidence_upper,
       iso_utc(f.issued_at) AS issued_at, iso_utc(f.recorded_at) AS recorded_at
FROM forecast_as_of(%(city)s::uuid, %(as_of)s::timestamptz, %(first)s::timestamptz, %(end)s::timestamptz,
                    %(model)s::text) f
ORDER BY f.timestamp, f.model
