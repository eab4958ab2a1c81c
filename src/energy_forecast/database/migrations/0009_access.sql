CREATE TABLE user_city_access (
    user_id    NAME NOT NULL,
    city_id    UUID NOT NULL REFERENCES cities (id),
    granted_by NAME NOT NULL DEFAULT session_user,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT user_city_access_key PRIMARY KEY (user_id, city_id)
);
COMMENT ON TABLE user_city_access IS
    'Who may see which city. Every policy reads it, as the person who asks: she sees her own rows only';
COMMENT ON COLUMN user_city_access.user_id IS 'A PostgreSQL role, member of energy_forecast_app';
COMMENT ON COLUMN user_city_access.granted_by IS 'The login that granted it';
COMMENT ON COLUMN user_city_access.created_at IS 'When it was granted';

-- Serves: the users of a city
CREATE INDEX idx_user_city_access_city ON user_city_access (city_id);

-- A rejected row belongs to the city that it names, if it exists; the policies use this column
ALTER TABLE ops.rejected_rows ADD COLUMN city_id UUID REFERENCES cities (id);
COMMENT ON COLUMN ops.rejected_rows.city_id IS 'The city that the row names; null where there is none of that name';
