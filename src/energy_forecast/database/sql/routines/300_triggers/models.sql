CREATE OR REPLACE TRIGGER models_set_updated_at BEFORE UPDATE ON models
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
ALTER TABLE models ENABLE ALWAYS TRIGGER models_set_updated_at;
