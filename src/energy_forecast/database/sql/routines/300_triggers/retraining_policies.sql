CREATE OR REPLACE TRIGGER retraining_policies_set_author BEFORE UPDATE ON ops.retraining_policies
    FOR EACH ROW EXECUTE FUNCTION ops.set_policy_author();
ALTER TABLE ops.retraining_policies ENABLE ALWAYS TRIGGER retraining_policies_set_author;
