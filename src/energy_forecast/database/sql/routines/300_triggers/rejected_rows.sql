/* Only retention may delete old rejected rows: not even the owner can delete a recent one, and every deletion is in the
   audit log. 90 days is the minimum of a retention policy. */
CREATE OR REPLACE TRIGGER keeps_recent BEFORE DELETE ON ops.rejected_rows FOR EACH ROW
    WHEN (OLD.created_at > CURRENT_TIMESTAMP - interval '90 days')
    EXECUTE FUNCTION public.reject_change('rejected rows are kept for at least 90 days');
ALTER TABLE ops.rejected_rows ENABLE ALWAYS TRIGGER keeps_recent;
CREATE OR REPLACE TRIGGER audit_delete AFTER DELETE ON ops.rejected_rows REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION public.audit_rejected_func();
ALTER TABLE ops.rejected_rows ENABLE ALWAYS TRIGGER audit_delete;
