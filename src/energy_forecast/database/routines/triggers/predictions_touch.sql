CREATE OR REPLACE TRIGGER predictions_touch BEFORE UPDATE ON predictions
    FOR EACH ROW EXECUTE FUNCTION touch_created_at();
ALTER TABLE predictions ENABLE ALWAYS TRIGGER predictions_touch;
