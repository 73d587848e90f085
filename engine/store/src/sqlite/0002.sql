-- SPDX-License-Identifier: EUPL-1.2
-- Lanes: order, pace and pauses. A delivery in an ordered lane holds up those behind it; who waits for a turn is
-- queued and not due, so that a look for work never passes over what cannot go.

ALTER TABLE delivery ADD COLUMN order_key TEXT;                       -- NULL: in any order
ALTER TABLE delivery ADD COLUMN position TEXT NOT NULL DEFAULT '';    -- Eingangszeitpunkt, submission, delivery
ALTER TABLE delivery ADD COLUMN queued INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE delivery ADD COLUMN holds_parked INTEGER NOT NULL DEFAULT 0;
-- The two clocks beside the next attempt, in microseconds: after how long, and when. tell_at is NULL once told.
ALTER TABLE delivery ADD COLUMN tell_after INTEGER NOT NULL DEFAULT 14400000000;
ALTER TABLE delivery ADD COLUMN tell_at INTEGER;
ALTER TABLE delivery ADD COLUMN give_up_after INTEGER NOT NULL DEFAULT 259200000000;
ALTER TABLE delivery ADD COLUMN give_up_at INTEGER NOT NULL DEFAULT 0;
UPDATE delivery SET give_up_at = (SELECT created_at FROM message m
    WHERE m.tenant = delivery.tenant AND m.message_id = delivery.message_id) + give_up_after;
UPDATE delivery SET tell_at = give_up_at - give_up_after + tell_after
    WHERE state IN ('wartend', 'laufend', 'nachverfolgt');

CREATE INDEX delivery_order ON delivery (tenant, lane, order_key, position) WHERE holds = 1;
CREATE INDEX delivery_queued ON delivery (tenant, lane, order_key) WHERE queued = 1;
CREATE INDEX delivery_tell ON delivery (tell_at) WHERE tell_at IS NOT NULL;
CREATE INDEX submission_open_vorgang ON submission (tenant, vorgang_id) WHERE state = 'eingegangen';

-- Only lanes that had failures or whose pace is limited.
CREATE TABLE lane (
    tenant TEXT NOT NULL,
    lane TEXT NOT NULL,
    failures INTEGER NOT NULL DEFAULT 0,
    trips INTEGER NOT NULL DEFAULT 0,
    paused_until INTEGER NOT NULL DEFAULT 0,
    -- When the pace allows the next attempt if each before it had kept its distance.
    paced_until INTEGER NOT NULL DEFAULT 0,
    -- When the pace allows the next attempt, some at once included.
    ready_at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX lane_paused ON lane (paused_until) WHERE paused_until > 0;
CREATE INDEX lane_ready ON lane (ready_at) WHERE ready_at > 0;
