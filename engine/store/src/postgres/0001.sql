-- SPDX-License-Identifier: EUPL-1.2
-- The tables of the SQLite store, column by column. Beyond them: who holds a lease, so that what a process that died
-- had leased can go on at once; texts compare by their bytes, as the engine does; lines of a timeline are numbered
-- by a sequence, because two steps of one submission may write at the same time.

CREATE SEQUENCE kop_process_id AS INTEGER CYCLE;
CREATE TABLE kop_process (
    process INTEGER PRIMARY KEY,
    role TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    seen_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE counter (
    tenant TEXT COLLATE "C" NOT NULL,
    prefix TEXT COLLATE "C" NOT NULL,
    year BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (tenant, prefix, year)
);

CREATE TABLE vorgang (
    tenant TEXT COLLATE "C" NOT NULL,
    vorgang_id TEXT COLLATE "C" NOT NULL,
    vorgangsnummer TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, vorgang_id)
);
CREATE UNIQUE INDEX vorgang_number ON vorgang (tenant, vorgangsnummer);

CREATE TABLE submission (
    tenant TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    vorgang_id TEXT COLLATE "C" NOT NULL,
    vorgangsnummer TEXT COLLATE "C" NOT NULL,
    source TEXT COLLATE "C" NOT NULL,
    idem_key TEXT COLLATE "C" NOT NULL,
    content_hash TEXT COLLATE "C" NOT NULL,
    vendor_id TEXT COLLATE "C",
    form_id TEXT COLLATE "C",
    form_name TEXT COLLATE "C",
    received_at BIGINT NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    -- When it may be claimed; while it is leased, the lease's end.
    due_at BIGINT NOT NULL,
    leased BIGINT NOT NULL DEFAULT 0,
    holder INTEGER,
    token BIGINT NOT NULL DEFAULT 0,
    runs BIGINT NOT NULL DEFAULT 0,
    payload TEXT COLLATE "C" NOT NULL,
    document BYTEA NOT NULL,
    PRIMARY KEY (tenant, submission_id)
);
CREATE UNIQUE INDEX submission_idempotency ON submission (tenant, source, idem_key, content_hash);
CREATE INDEX submission_number ON submission (tenant, vorgangsnummer);
CREATE INDEX submission_vendor ON submission (tenant, vendor_id) WHERE vendor_id IS NOT NULL;
CREATE INDEX submission_received ON submission (tenant, received_at, submission_id);
CREATE INDEX submission_state ON submission (tenant, state, received_at, submission_id);
CREATE INDEX submission_form ON submission (tenant, form_id, received_at, submission_id);
CREATE INDEX submission_all ON submission (received_at, submission_id);
CREATE INDEX submission_due ON submission (tenant, due_at) WHERE state = 'eingegangen';
CREATE INDEX submission_held ON submission (holder) WHERE holder IS NOT NULL AND leased = 1;
CREATE INDEX submission_wake ON submission (due_at) WHERE state = 'eingegangen';

CREATE TABLE message (
    tenant TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    receiver TEXT COLLATE "C" NOT NULL,
    nachrichten_uuid TEXT COLLATE "C" NOT NULL,
    engine_version TEXT COLLATE "C" NOT NULL,
    generation TEXT COLLATE "C" NOT NULL,
    mapping TEXT COLLATE "C" NOT NULL,
    mapping_hash TEXT COLLATE "C" NOT NULL,
    schema_package TEXT COLLATE "C",
    content_hash TEXT COLLATE "C" NOT NULL,
    main TEXT COLLATE "C" NOT NULL,
    parts TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    -- The submission's, so that a receiver's submissions are found in order.
    received_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, message_id)
);
CREATE INDEX message_submission ON message (tenant, submission_id);
CREATE INDEX message_receiver ON message (tenant, receiver, received_at, submission_id);

CREATE TABLE delivery (
    tenant TEXT COLLATE "C" NOT NULL,
    delivery_id TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    next_try_at BIGINT,
    -- Since a person last had it tried again.
    attempts BIGINT NOT NULL DEFAULT 0,
    receipt TEXT COLLATE "C",
    ticket TEXT COLLATE "C",
    -- When it may be claimed; NULL while an attempt is open and once it is done.
    due_at BIGINT,
    lease_until BIGINT,
    holder INTEGER,
    token BIGINT NOT NULL DEFAULT 0,
    open_attempt TEXT COLLATE "C",
    PRIMARY KEY (tenant, delivery_id)
);
CREATE INDEX delivery_submission ON delivery (tenant, submission_id);
CREATE INDEX delivery_state ON delivery (tenant, state);
CREATE INDEX delivery_due ON delivery (tenant, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_held ON delivery (holder) WHERE holder IS NOT NULL AND lease_until IS NOT NULL;
CREATE INDEX delivery_wake ON delivery (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_leased ON delivery (tenant, lane, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX delivery_open ON delivery (lease_until) WHERE open_attempt IS NOT NULL;

CREATE TABLE attempt (
    tenant TEXT COLLATE "C" NOT NULL,
    delivery_id TEXT COLLATE "C" NOT NULL,
    attempt_id TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    outcome TEXT COLLATE "C",
    level TEXT COLLATE "C",
    problem TEXT COLLATE "C",
    PRIMARY KEY (tenant, delivery_id, attempt_id)
);

CREATE TABLE work_item (
    tenant TEXT COLLATE "C" NOT NULL,
    work_item_id TEXT COLLATE "C" NOT NULL,
    class TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,
    diagnostics TEXT COLLATE "C" NOT NULL,
    -- The step that opened it: annahme, verarbeitung or zustellung.
    step TEXT COLLATE "C" NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT,
    submission_id TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C",
    delivery_id TEXT COLLATE "C",
    PRIMARY KEY (tenant, work_item_id)
);
CREATE INDEX work_item_submission ON work_item (tenant, submission_id);
CREATE INDEX work_item_open ON work_item (tenant, fingerprint, opened_at) WHERE closed_at IS NULL;

CREATE TABLE event (
    tenant TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    at BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C",
    delivery_id TEXT COLLATE "C",
    params TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, submission_id, seq)
);

CREATE TABLE access_log (
    tenant TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    who TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C"
);
CREATE INDEX access_log_time ON access_log (tenant, at);

-- Lanes: order, pace and pauses. A delivery in an ordered lane holds up those behind it; who waits for a turn is
-- queued and not due, so that a look for work never passes over what cannot go.

ALTER TABLE delivery ADD COLUMN order_key TEXT COLLATE "C";                       -- NULL: in any order
ALTER TABLE delivery ADD COLUMN position TEXT COLLATE "C" NOT NULL DEFAULT '';    -- Eingangszeitpunkt, submission, delivery
ALTER TABLE delivery ADD COLUMN queued BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE delivery ADD COLUMN holds BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE delivery ADD COLUMN holds_parked BOOLEAN NOT NULL DEFAULT FALSE;
-- The two clocks beside the next attempt, in microseconds: after how long, and when. tell_at is NULL once told.
ALTER TABLE delivery ADD COLUMN tell_after BIGINT NOT NULL DEFAULT 14400000000;
ALTER TABLE delivery ADD COLUMN tell_at BIGINT;
ALTER TABLE delivery ADD COLUMN give_up_after BIGINT NOT NULL DEFAULT 259200000000;
ALTER TABLE delivery ADD COLUMN give_up_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX delivery_order ON delivery (tenant, lane, order_key, position) WHERE holds;
CREATE INDEX delivery_queued ON delivery (tenant, lane, order_key) WHERE queued;
CREATE INDEX delivery_tell ON delivery (tell_at) WHERE tell_at IS NOT NULL;
CREATE INDEX submission_open_vorgang ON submission (tenant, vorgang_id) WHERE state = 'eingegangen';

-- Only lanes that had failures or whose pace is limited.
CREATE TABLE lane (
    tenant TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    failures BIGINT NOT NULL DEFAULT 0,
    trips BIGINT NOT NULL DEFAULT 0,
    paused_until BIGINT NOT NULL DEFAULT 0,
    -- When the pace allows the next attempt if each before it had kept its distance.
    paced_until BIGINT NOT NULL DEFAULT 0,
    -- When the pace allows the next attempt, some at once included.
    ready_at BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, lane)
);
CREATE INDEX lane_paused ON lane (paused_until) WHERE paused_until > 0;
CREATE INDEX lane_ready ON lane (ready_at) WHERE ready_at > 0;

-- What a person does about a cause, a mapping or a wrong value.

-- JSON of the origin: route, receiver, mapping, its hash and version.
ALTER TABLE work_item ADD COLUMN origin TEXT COLLATE "C";

-- The message that this one was made instead of, by a person's act.
ALTER TABLE message ADD COLUMN ersetzt TEXT COLLATE "C";
-- JSON of what it was made with beside submission, mapping and schema package.
ALTER TABLE message ADD COLUMN pinned TEXT COLLATE "C";
CREATE INDEX message_replaced ON message (tenant, ersetzt) WHERE ersetzt IS NOT NULL;

-- Values that a person laid over those of a document. Personal data, as the document is: both go together.
CREATE TABLE correction (
    tenant TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at BIGINT NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    -- NULL where the document had no such value.
    before TEXT COLLATE "C",
    after TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    who TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, submission_id, seq)
);

-- Which blobs a submission and its messages name, so that those that nobody names can be removed.
CREATE TABLE blob_ref (
    tenant TEXT COLLATE "C" NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, submission_id, sha256)
);
CREATE INDEX blob_ref_hash ON blob_ref (tenant, sha256);

-- Deletion by periods: contents first, the rest later; the log keeps that it happened.
ALTER TABLE submission ADD COLUMN content_deleted_at BIGINT;
CREATE INDEX submission_kept ON submission (tenant, received_at, submission_id) WHERE content_deleted_at IS NULL;

CREATE TABLE deletion_log (
    tenant TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    submission_id TEXT COLLATE "C" NOT NULL,
    received_at BIGINT NOT NULL,
    phase TEXT COLLATE "C" NOT NULL,
    days BIGINT NOT NULL
);
CREATE INDEX deletion_log_time ON deletion_log (tenant, at);
