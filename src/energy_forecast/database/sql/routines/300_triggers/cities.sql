CREATE OR REPLACE TRIGGER cities_set_updated_at BEFORE UPDATE ON cities
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
ALTER TABLE cities ENABLE ALWAYS TRIGGER cities_set_updated_at;
