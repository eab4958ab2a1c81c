CREATE OR REPLACE TRIGGER weather_data_keep_revision BEFORE UPDATE ON weather_data
    FOR EACH ROW EXECUTE FUNCTION keep_weather_revision();
ALTER TABLE weather_data ENABLE ALWAYS TRIGGER weather_data_keep_revision;
