-- Cities, and the users who may see each of them

/* ll_to_earth() of earthdistance finds its type by the search path, so an index on it is lost in a restore and breaks
   under search_path = ''. This function sets its own path. */
CREATE FUNCTION geo_point(latitude numeric, longitude numeric) RETURNS ext.earth
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = ext, pg_catalog
    RETURN ext.ll_to_earth(latitude::float8, longitude::float8);
COMMENT ON FUNCTION geo_point(numeric, numeric) IS 'The point on earth of a latitude and a longitude in degrees';

CREATE TABLE cities (
    id           UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    name         VARCHAR(100) NOT NULL,
    latitude     DECIMAL(9,6) NOT NULL,
    longitude    DECIMAL(9,6) NOT NULL,
    timezone     VARCHAR(50) NOT NULL,
    country_code VARCHAR(2),
    subdivision  VARCHAR(10),
    metadata     JSONB NOT NULL DEFAULT '{}',
    load_delay   INTERVAL,
    created_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    updated_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT unique_city_name UNIQUE (name),
    CONSTRAINT city_name_printable CHECK (name = btrim(name) AND name <> '' AND name !~ '[[:cntrl:]]'),
    CONSTRAINT city_name_composed CHECK (name IS NFC NORMALIZED),
    CONSTRAINT city_name_visible CHECK (
        name !~ '[\u0001-\u001F\u007F-\u00A0\u00AD\u034F\u061C\u115F\u1160\u1680\u17B4\u17B5\u180B-\u180F\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB\U000E0000-\U000E0FFF]'
        AND name NOT LIKE '%  %'),
    CONSTRAINT city_name_no_formula CHECK (name !~ '^[-=+@]'),
    CONSTRAINT city_latitude_range CHECK (latitude BETWEEN -90 AND 90),
    CONSTRAINT city_longitude_range CHECK (longitude BETWEEN -180 AND 180),
    CONSTRAINT city_timezone_iana CHECK (
        timezone ~ '^(UTC|Etc/(UTC|GMT[+-][0-9]{1,2})|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_-]+){1,2})$'
        AND timezone(timezone, timestamp '2000-01-01') IS NOT NULL),
    CONSTRAINT city_load_delay_range CHECK (load_delay BETWEEN interval '0' AND interval '30 days'),
    CONSTRAINT city_country_form CHECK (country_code ~ '^[A-Z]{2}$'),
    CONSTRAINT city_subdivision_form CHECK (subdivision ~ '^[A-Za-z0-9-]{1,10}$')
);
COMMENT ON TABLE cities IS 'The places whose consumption is forecast; all other data refer to a city';
COMMENT ON COLUMN cities.name IS
    'Name in commands and files; compared without regard to case and Unicode normalisation';
COMMENT ON COLUMN cities.latitude IS 'Degrees north, -90 to 90';
COMMENT ON COLUMN cities.longitude IS 'Degrees east, -180 to 180';
COMMENT ON COLUMN cities.timezone IS 'IANA time zone; the only source of local time';
COMMENT ON COLUMN cities.country_code IS 'ISO 3166-1 alpha-2, for public holidays';
COMMENT ON COLUMN cities.subdivision IS 'ISO 3166-2 part after the country, for regional holidays';
COMMENT ON COLUMN cities.metadata IS 'Free notes; the platform keeps the origin of sample data here';
COMMENT ON COLUMN cities.load_delay IS
    'Time from the end of an interval until its load is known, for backtests; null: not known';
COMMENT ON CONSTRAINT city_timezone_iana ON cities IS
    'An IANA name: PostgreSQL also accepts abbreviations such as IST (read as Israel) and any POSIX string';
COMMENT ON CONSTRAINT city_name_visible ON cities IS
    'Two names that look alike must not be two cities: printable characters and single spaces only';
COMMENT ON CONSTRAINT city_name_no_formula ON cities IS
    'A name that begins with = + - or @ would be a formula in a spreadsheet';

CREATE INDEX idx_cities_location ON cities USING gist (geo_point(latitude, longitude));
COMMENT ON INDEX idx_cities_location IS
    'Serves cities near a point, by ext.earth_box(geo_point(..), metres) @> geo_point(latitude, longitude)';

CREATE INDEX idx_cities_timezone ON cities (timezone);
COMMENT ON INDEX idx_cities_timezone IS 'Serves all cities of a zone';

CREATE UNIQUE INDEX city_name_key ON cities (lower(normalize(name, NFC)));
COMMENT ON INDEX city_name_key IS
    'Serves a city by its name in commands and files; ensures that a name belongs to one city';

CREATE TABLE user_city_access (
    user_id    NAME NOT NULL,
    city_id    UUID NOT NULL REFERENCES cities (id),
    granted_by NAME NOT NULL DEFAULT session_user,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT user_city_access_key PRIMARY KEY (user_id, city_id)
);
COMMENT ON TABLE user_city_access IS
    'The cities that each user may see. Every policy reads it as the acting role, which sees only its own rows';
COMMENT ON COLUMN user_city_access.user_id IS 'A PostgreSQL role, member of energy_forecast_app';
COMMENT ON COLUMN user_city_access.granted_by IS 'The login that granted it';
COMMENT ON COLUMN user_city_access.created_at IS 'When it was granted';

CREATE INDEX idx_user_city_access_city ON user_city_access (city_id);
COMMENT ON INDEX idx_user_city_access_city IS 'Serves the users of a city';
