-- SPDX-License-Identifier: EUPL-1.2
-- Every key starts with the tenant. Moments are microseconds since 1970, ids and hashes are text, so that
-- a person with the sqlite3 shell can follow a case. Indexes that begin otherwise serve the instance as a
-- whole: waking up, and lists over all tenants.

CREATE TABLE counter (
    tenant TEXT NOT NULL,
    prefix TEXT NOT NULL,
    year INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (tenant, prefix, year)
) STRICT, WITHOUT ROWID;

CREATE TABLE vorgang (
    tenant TEXT NOT NULL,
    vorgang_id TEXT NOT NULL,
    vorgangsnummer TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, vorgang_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX vorgang_number ON vorgang (tenant, vorgangsnummer);

CREATE TABLE submission (
    tenant TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    vorgang_id TEXT NOT NULL,
    vorgangsnummer TEXT NOT NULL,
    source TEXT NOT NULL,
    idem_key TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    vendor_id TEXT,
    form_id TEXT,
    form_name TEXT,
    received_at INTEGER NOT NULL,
    state TEXT NOT NULL,
    -- When it may be claimed; while it is leased, the lease's end.
    due_at INTEGER NOT NULL,
    leased INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,
    runs INTEGER NOT NULL DEFAULT 0,
    payload TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, submission_id)
) STRICT;
CREATE UNIQUE INDEX submission_idempotency ON submission (tenant, source, idem_key, content_hash);
CREATE INDEX submission_number ON submission (tenant, vorgangsnummer);
CREATE INDEX submission_vendor ON submission (tenant, vendor_id) WHERE vendor_id IS NOT NULL;
CREATE INDEX submission_received ON submission (tenant, received_at, submission_id);
CREATE INDEX submission_state ON submission (tenant, state, received_at, submission_id);
CREATE INDEX submission_form ON submission (tenant, form_id, received_at, submission_id);
CREATE INDEX submission_all ON submission (received_at, submission_id);
CREATE INDEX submission_due ON submission (tenant, due_at) WHERE state = 'eingegangen';
CREATE INDEX submission_wake ON submission (due_at) WHERE state = 'eingegangen';

CREATE TABLE message (
    tenant TEXT NOT NULL,
    message_id TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    route TEXT NOT NULL,
    receiver TEXT NOT NULL,
    nachrichten_uuid TEXT NOT NULL,
    engine_version TEXT NOT NULL,
    generation TEXT NOT NULL,
    mapping TEXT NOT NULL,
    mapping_hash TEXT NOT NULL,
    schema_package TEXT,
    content_hash TEXT NOT NULL,
    main TEXT NOT NULL,
    parts TEXT NOT NULL,
    state TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- The submission's, so that a receiver's submissions are found in order.
    received_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, message_id)
) STRICT;
CREATE INDEX message_submission ON message (tenant, submission_id);
CREATE INDEX message_receiver ON message (tenant, receiver, received_at, submission_id);

CREATE TABLE delivery (
    tenant TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    next_try_at INTEGER,
    -- Since a person last had it tried again.
    attempts INTEGER NOT NULL DEFAULT 0,
    receipt TEXT,
    ticket TEXT,
    -- When it may be claimed; NULL while an attempt is open and once it is done.
    due_at INTEGER,
    lease_until INTEGER,
    token INTEGER NOT NULL DEFAULT 0,
    open_attempt TEXT,
    PRIMARY KEY (tenant, delivery_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_submission ON delivery (tenant, submission_id);
CREATE INDEX delivery_state ON delivery (tenant, state);
CREATE INDEX delivery_due ON delivery (tenant, lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_wake ON delivery (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_leased ON delivery (tenant, lane, lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX delivery_open ON delivery (lease_until) WHERE open_attempt IS NOT NULL;

CREATE TABLE attempt (
    tenant TEXT NOT NULL,
    delivery_id TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    level TEXT,
    problem TEXT,
    PRIMARY KEY (tenant, delivery_id, attempt_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE work_item (
    tenant TEXT NOT NULL,
    work_item_id TEXT NOT NULL,
    class TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    diagnostics TEXT NOT NULL,
    -- The step that opened it: annahme, verarbeitung or zustellung.
    step TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    submission_id TEXT NOT NULL,
    message_id TEXT,
    delivery_id TEXT,
    PRIMARY KEY (tenant, work_item_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX work_item_submission ON work_item (tenant, submission_id);
CREATE INDEX work_item_open ON work_item (tenant, fingerprint, opened_at) WHERE closed_at IS NULL;

CREATE TABLE event (
    tenant TEXT NOT NULL,
    submission_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    message_id TEXT,
    delivery_id TEXT,
    params TEXT NOT NULL,
    PRIMARY KEY (tenant, submission_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE access_log (
    tenant TEXT NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    submission_id TEXT
) STRICT;
CREATE INDEX access_log_time ON access_log (tenant, at);
