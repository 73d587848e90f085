-- SPDX-License-Identifier: EUPL-1.2
-- Deletion by periods: contents first, the rest later; the log keeps that it happened.

ALTER TABLE submission ADD COLUMN content_deleted_at INTEGER;
CREATE INDEX submission_kept ON submission (tenant, received_at, submission_id) WHERE content_deleted_at IS NULL;

CREATE TABLE deletion_log (
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    submission_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    phase TEXT NOT NULL,
    days INTEGER NOT NULL
) STRICT;
CREATE INDEX deletion_log_time ON deletion_log (tenant, at);
