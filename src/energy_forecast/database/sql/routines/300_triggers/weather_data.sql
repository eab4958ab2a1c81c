CREATE OR REPLACE TRIGGER weather_data_correct BEFORE UPDATE ON weather_data
    FOR EACH ROW EXECUTE FUNCTION correct_value();
ALTER TABLE weather_data ENABLE ALWAYS TRIGGER weather_data_correct;
CREATE OR REPLACE TRIGGER weather_data_archive_revision AFTER UPDATE ON weather_data REFERENCING OLD TABLE AS corrected
    FOR EACH STATEMENT EXECUTE FUNCTION archive_weather_revision();
ALTER TABLE weather_data ENABLE ALWAYS TRIGGER weather_data_archive_revision;
