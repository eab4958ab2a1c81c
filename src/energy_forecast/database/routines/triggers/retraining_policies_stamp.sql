CREATE OR REPLACE TRIGGER retraining_policies_stamp BEFORE UPDATE ON ops.retraining_policies
    FOR EACH ROW EXECUTE FUNCTION ops.stamp_retention_policy();
ALTER TABLE ops.retraining_policies ENABLE ALWAYS TRIGGER retraining_policies_stamp;
