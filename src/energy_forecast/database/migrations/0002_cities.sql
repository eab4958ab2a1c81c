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
    created_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at   TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT unique_city_name UNIQUE (name),
    CONSTRAINT city_name_printable CHECK (name = btrim(name) AND name <> '' AND name !~ '[[:cntrl:]]'),
    CONSTRAINT city_latitude_range CHECK (latitude BETWEEN -90 AND 90),
    CONSTRAINT city_longitude_range CHECK (longitude BETWEEN -180 AND 180),
    /* PostgreSQL reads '10:00 IST' as Israel time and accepts any POSIX string as a zone. For an unknown name in IANA
       form timezone() raises 22023. */
    CONSTRAINT city_timezone_iana CHECK (
        timezone ~ '^(UTC|Etc/(UTC|GMT[+-][0-9]{1,2})|[A-Z][A-Za-z_]+(/[A-Z][A-Za-z_-]+){1,2})$'
        AND timezone(timezone, timestamp '2000-01-01') IS NOT NULL),
    CONSTRAINT city_country_form CHECK (country_code ~ '^[A-Z]{2}$'),
    CONSTRAINT city_subdivision_form CHECK (subdivision ~ '^[A-Za-z0-9-]{1,10}$')
);
COMMENT ON TABLE cities IS 'The places whose consumption is forecast. Everything else refers to a city';
COMMENT ON COLUMN cities.latitude IS 'Degrees north, -90 to 90';
COMMENT ON COLUMN cities.longitude IS 'Degrees east, -180 to 180';
COMMENT ON COLUMN cities.timezone IS 'IANA zone; the only source of local time';
COMMENT ON COLUMN cities.country_code IS 'ISO 3166-1 alpha-2, for public holidays';
COMMENT ON COLUMN cities.subdivision IS 'ISO 3166-2 part after the country, for regional holidays';
COMMENT ON COLUMN cities.metadata IS 'Free notes; the platform keeps the origin of sample data here';

-- Serves: cities near a point, by ext.earth_box(geo_point(..), metres) @> geo_point(latitude, longitude)
CREATE INDEX idx_cities_location ON cities USING gist (geo_point(latitude, longitude));
-- Serves: all cities of a zone
CREATE INDEX idx_cities_timezone ON cities (timezone);
