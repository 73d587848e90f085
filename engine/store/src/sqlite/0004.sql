-- SPDX-License-Identifier: EUPL-1.2
-- Which blobs a submission and its messages name, so that those that nobody names can be removed. In the order of
-- submissions: rows are added at the end, and who looks for a blob reads through a tenant's entries once for many.

CREATE TABLE blob_ref (
    tenant TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (tenant, submission_id, sha256)
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO blob_ref (tenant, submission_id, sha256)
    SELECT s.tenant, s.submission_id, json_extract(part.value, '$.blob.sha256')
    FROM submission s, json_each(s.payload) part;
INSERT OR IGNORE INTO blob_ref (tenant, submission_id, sha256)
    SELECT tenant, submission_id, json_extract(main, '$.blob.sha256') FROM message;
INSERT OR IGNORE INTO blob_ref (tenant, submission_id, sha256)
    SELECT m.tenant, m.submission_id, json_extract(part.value, '$.blob.sha256')
    FROM message m, json_each(m.parts) part;
