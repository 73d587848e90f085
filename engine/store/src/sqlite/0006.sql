-- SPDX-License-Identifier: EUPL-1.2
-- Contents apart from the row that changes with every step: SQLite writes a row anew as a whole.

CREATE TABLE submission_content (
    tenant TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, submission_id)
) STRICT;
INSERT INTO submission_content (tenant, submission_id, payload, document)
    SELECT tenant, submission_id, payload, document FROM submission WHERE content_deleted_at IS NULL;
ALTER TABLE submission DROP COLUMN payload;
ALTER TABLE submission DROP COLUMN document;
