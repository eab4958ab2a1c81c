CREATE OR REPLACE TRIGGER predictions_set_created_at BEFORE UPDATE ON predictions
    FOR EACH ROW EXECUTE FUNCTION set_created_at();
ALTER TABLE predictions ENABLE ALWAYS TRIGGER predictions_set_created_at;
