CREATE OR REPLACE TRIGGER model_promotions_end BEFORE INSERT ON model_promotions
    FOR EACH ROW EXECUTE FUNCTION end_previous_promotion();
ALTER TABLE model_promotions ENABLE ALWAYS TRIGGER model_promotions_end;
