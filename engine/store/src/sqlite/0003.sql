-- SPDX-License-Identifier: EUPL-1.2
-- What a person does about a cause, a mapping or a wrong value.

-- JSON of the origin: route, receiver, mapping, its hash and version.
ALTER TABLE work_item ADD COLUMN origin TEXT;

-- The message that this one was made instead of, by a person's act.
ALTER TABLE message ADD COLUMN ersetzt TEXT;
-- JSON of what it was made with beside submission, mapping and schema package.
ALTER TABLE message ADD COLUMN pinned TEXT;
CREATE INDEX message_replaced ON message (tenant, ersetzt) WHERE ersetzt IS NOT NULL;

-- Values that a person laid over those of a document. Personal data, as the document is: both go together.
CREATE TABLE correction (
    tenant TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    path TEXT NOT NULL,
    -- NULL where the document had no such value.
    before TEXT,
    after TEXT NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (tenant, submission_id, seq)
) STRICT, WITHOUT ROWID;
