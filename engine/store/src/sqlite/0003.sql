-- SPDX-License-Identifier: EUPL-1.2
-- What a person does about a cause, a mapping or a wrong value.

-- JSON of the origin: route, receiver, mapping, its hash and version.
ALTER TABLE work_item ADD COLUMN origin TEXT;

-- The message that this one was made instead of, by a person's act.
ALTER TABLE message ADD COLUMN ersetzt TEXT;
-- JSON of what it was made with beside submission, mapping and schema package.
ALTER TABLE message ADD COLUMN pinned TEXT;
CREATE INDEX message_replaced ON message (tenant, ersetzt) WHERE ersetzt IS NOT NULL;
