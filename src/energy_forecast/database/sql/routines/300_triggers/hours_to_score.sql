CREATE OR REPLACE TRIGGER record_late_vintages AFTER INSERT ON prediction_vintages REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION record_late_vintages();
ALTER TABLE prediction_vintages ENABLE ALWAYS TRIGGER record_late_vintages;
CREATE OR REPLACE TRIGGER record_moved_city AFTER UPDATE ON cities FOR EACH ROW
    WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone OR OLD.country_code IS DISTINCT FROM NEW.country_code
          OR OLD.subdivision IS DISTINCT FROM NEW.subdivision)
    EXECUTE FUNCTION record_moved_city();
ALTER TABLE cities ENABLE ALWAYS TRIGGER record_moved_city;
