-- Observed weather, its corrections, and weather forecasts

CREATE TABLE weather_data (
    id               UUID NOT NULL DEFAULT gen_random_uuid(),
    city_id          UUID NOT NULL REFERENCES cities (id),
    timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    temperature      DECIMAL(5,2) NOT NULL,
    humidity         DECIMAL(5,2),
    wind_speed       DECIMAL(5,2),
    precipitation    DECIMAL(5,2),
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    available_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_minutes SMALLINT NOT NULL DEFAULT 60,
    CONSTRAINT weather_city_timestamp PRIMARY KEY (city_id, timestamp) INCLUDE (temperature),
    CONSTRAINT weather_temperature_range CHECK (temperature BETWEEN -90 AND 60),
    CONSTRAINT weather_humidity_range CHECK (humidity BETWEEN 0 AND 100),
    CONSTRAINT weather_wind_range CHECK (wind_speed BETWEEN 0 AND 150),
    CONSTRAINT weather_precipitation_range CHECK (precipitation BETWEEN 0 AND 500),
    CONSTRAINT weather_interval_range CHECK (
        interval_minutes >= 1 AND interval_minutes <= 60 AND 60 % interval_minutes = 0),
    CONSTRAINT weather_available_after_end CHECK (
        available_at - timestamp >= make_interval(mins => interval_minutes) AND available_at < 'infinity')
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE weather_data IS
    'OBSERVED weather of a city in one interval, as known now; corrections as in energy_consumption. Forecasts are in '
    'weather_forecasts. One partition per UTC month';
COMMENT ON COLUMN weather_data.timestamp IS 'START of the interval, UTC';
COMMENT ON COLUMN weather_data.temperature IS 'Degrees Celsius';
COMMENT ON COLUMN weather_data.humidity IS 'Relative humidity, percent';
COMMENT ON COLUMN weather_data.wind_speed IS 'm/s';
COMMENT ON COLUMN weather_data.precipitation IS 'mm in the interval';
COMMENT ON COLUMN weather_data.created_at IS 'When this database recorded the value';
COMMENT ON COLUMN weather_data.available_at IS
    'When the value could first be known, according to its source; never before the end of the interval';
COMMENT ON COLUMN weather_data.interval_minutes IS 'Length of the interval, a divisor of 60';
COMMENT ON CONSTRAINT weather_city_timestamp ON weather_data IS
    'Includes the temperature: 30 days of hourly weather then read no page of the table in vacuumed months, instead of '
    '720 of 764';
COMMENT ON CONSTRAINT weather_temperature_range ON weather_data IS
    'The lowest and highest air temperatures ever measured are -89.2 and 56.7; BETWEEN rejects NaN';

CREATE INDEX idx_weather_time ON weather_data USING BRIN (timestamp);
COMMENT ON INDEX idx_weather_time IS 'Serves rows of all cities recorded in a time range';

CREATE TABLE weather_data_revisions (
    city_id          UUID NOT NULL REFERENCES cities (id),
    timestamp        TIMESTAMP WITH TIME ZONE NOT NULL,
    temperature      DECIMAL(5,2) NOT NULL,
    humidity         DECIMAL(5,2),
    wind_speed       DECIMAL(5,2),
    precipitation    DECIMAL(5,2),
    created_at       TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    available_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    interval_minutes SMALLINT NOT NULL,
    superseded_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT weather_revision_key PRIMARY KEY (city_id, timestamp, available_at, created_at),
    CONSTRAINT weather_revision_temperature_range CHECK (temperature BETWEEN -90 AND 60),
    CONSTRAINT weather_revision_humidity_range CHECK (humidity BETWEEN 0 AND 100),
    CONSTRAINT weather_revision_wind_range CHECK (wind_speed BETWEEN 0 AND 150),
    CONSTRAINT weather_revision_precipitation_range CHECK (precipitation BETWEEN 0 AND 500),
    CONSTRAINT weather_revision_interval_range CHECK (
        interval_minutes >= 1 AND interval_minutes <= 60 AND 60 % interval_minutes = 0),
    CONSTRAINT weather_revision_available_after_end CHECK (
        available_at - timestamp >= make_interval(mins => interval_minutes) AND available_at < 'infinity')
);
COMMENT ON TABLE weather_data_revisions IS
    'Versions of weather_data that are not current: values replaced by a correction, and older values that arrived '
    'after newer ones. Append-only';

CREATE TABLE weather_forecasts (
    city_id       UUID NOT NULL REFERENCES cities (id),
    timestamp     TIMESTAMP WITH TIME ZONE NOT NULL,
    issued_at     TIMESTAMP WITH TIME ZONE NOT NULL,
    temperature   DECIMAL(5,2) NOT NULL,
    humidity      DECIMAL(5,2),
    wind_speed    DECIMAL(5,2),
    precipitation DECIMAL(5,2),
    created_at    TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT weather_forecast_key PRIMARY KEY (city_id, timestamp, issued_at),
    CONSTRAINT weather_forecast_temperature_range CHECK (temperature BETWEEN -90 AND 60),
    CONSTRAINT weather_forecast_humidity_range CHECK (humidity BETWEEN 0 AND 100),
    CONSTRAINT weather_forecast_wind_range CHECK (wind_speed BETWEEN 0 AND 150),
    CONSTRAINT weather_forecast_precipitation_range CHECK (precipitation BETWEEN 0 AND 500),
    CONSTRAINT weather_forecast_after_issue CHECK (timestamp >= issued_at AND issued_at > '-infinity')
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE weather_forecasts IS
    'Forecasts of a weather service with their issue times. Append-only: a later issue does not replace an earlier '
    'one. One partition per UTC month of the target';
COMMENT ON COLUMN weather_forecasts.timestamp IS 'START of the target hour, UTC';
COMMENT ON COLUMN weather_forecasts.issued_at IS 'When the weather service issued it, and so when it could be known';
COMMENT ON COLUMN weather_forecasts.temperature IS 'Degrees Celsius';
COMMENT ON COLUMN weather_forecasts.humidity IS 'Relative humidity, percent';
COMMENT ON COLUMN weather_forecasts.wind_speed IS 'm/s';
COMMENT ON COLUMN weather_forecasts.precipitation IS 'mm in the hour';
