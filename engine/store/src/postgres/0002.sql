-- SPDX-License-Identifier: EUPL-1.2
-- Settling a source that was asked for its payloads is a delivery to it: what must have happened before it is due, and
-- whether it still waits for that.

ALTER TABLE delivery ADD COLUMN settles TEXT COLLATE "C";                 -- NULL: brings a message to a receiver
ALTER TABLE delivery ADD COLUMN settle_waits BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX delivery_settles ON delivery (tenant, submission_id) WHERE settle_waits;
