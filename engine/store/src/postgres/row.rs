// SPDX-License-Identifier: EUPL-1.2
//! Between rows and records. What cannot be read back was damaged or written by someone else.

use std::{borrow::Cow, str::FromStr};

use kop_core::{SettleAt, clock::Zeitpunkt};
use serde::de::DeserializeOwned;
use tokio_postgres::{Row, types::FromSql};

use super::pool::Conn;
use crate::{
    error::StoreError,
    records::{
        AttemptRecord, CorrectionRecord, DeliveryRecord, EventRecord, MessageRecord, SubmissionRecord,
        SubmissionSummary, WorkItemRecord,
    },
    settlement::Settlement,
};

fn broken(column: usize) -> StoreError {
    // The error itself could repeat the text of the column.
    StoreError::Damaged(format!("a row cannot be read, column {column}"))
}

/// A text that PostgreSQL can keep: it knows no NUL.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { Cow::Owned(value.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(value) }
}

pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|_| broken(column))
}

/// A number that the engine counts with.
pub(super) fn count<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, StoreError> {
    T::try_from(get::<i64>(row, column)?).map_err(|_| broken(column))
}

/// A column read through [`FromStr`].
pub(super) fn parsed<T: FromStr>(row: &Row, column: usize) -> Result<T, StoreError> {
    get::<&str>(row, column)?.parse().map_err(|_| broken(column))
}

/// The same, for a column that may be NULL.
pub(super) fn parsed_opt<T: FromStr>(row: &Row, column: usize) -> Result<Option<T>, StoreError> {
    get::<Option<&str>>(row, column)?.map(|text| text.parse().map_err(|_| broken(column))).transpose()
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row, column: usize) -> Result<T, StoreError> {
    serde_json::from_str(get(row, column)?).map_err(|_| broken(column))
}

pub(super) fn from_json_opt<T: DeserializeOwned>(row: &Row, column: usize) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = get(row, column)?;
    text.map(|text| serde_json::from_str(text).map_err(|_| broken(column))).transpose()
}

fn from_word<T: DeserializeOwned>(text: &str, column: usize) -> Result<T, StoreError> {
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|_| broken(column))
}

pub(super) fn moment(row: &Row, column: usize) -> Result<Zeitpunkt, StoreError> {
    Zeitpunkt::from_microsecond(get(row, column)?).map_err(|_| broken(column))
}

pub(super) fn moment_opt(row: &Row, column: usize) -> Result<Option<Zeitpunkt>, StoreError> {
    let micros: Option<i64> = get(row, column)?;
    micros.map(Zeitpunkt::from_microsecond).transpose().map_err(|_| broken(column))
}

pub(super) const SUMMARY: &str = "s.tenant, s.submission_id, s.vorgang_id, s.vorgangsnummer, s.source, \
     s.vendor_id, s.form_id, s.form_name, s.received_at, s.state, s.runs, s.content_deleted_at";

pub(super) fn summary(row: &Row) -> Result<SubmissionSummary, StoreError> {
    Ok(SubmissionSummary {
        tenant: parsed(row, 0)?,
        submission_id: parsed(row, 1)?,
        vorgang_id: parsed(row, 2)?,
        vorgangsnummer: get(row, 3)?,
        source: get(row, 4)?,
        vendor_id: get(row, 5)?,
        form_id: get(row, 6)?,
        form_name: get(row, 7)?,
        received_at: moment(row, 8)?,
        state: parsed(row, 9)?,
        runs: count(row, 10)?,
        content_deleted_at: moment_opt(row, 11)?,
    })
}

/// The columns of [`submission`], after those of [`SUMMARY`].
pub(super) const REST: &str = "s.content_hash, s.document, s.payload";

/// A whole submission, of a row with [`SUMMARY`] and [`REST`].
pub(super) fn submission(row: &Row) -> Result<SubmissionRecord, StoreError> {
    Ok(SubmissionRecord {
        summary: summary(row)?,
        content_hash: parsed(row, 12)?,
        document: get(row, 13)?,
        payload: from_json(row, 14)?,
    })
}

/// One whole submission.
pub(super) async fn one_submission(
    conn: &Conn,
    tenant: &str,
    id: &str,
) -> Result<SubmissionRecord, StoreError> {
    let sql =
        format!("SELECT {SUMMARY}, {REST} FROM submission s WHERE s.tenant = $1 AND s.submission_id = $2");
    submission(&conn.query_one(&sql, &[&tenant, &id]).await?)
}

pub(super) const MESSAGE: &str = "SELECT tenant, message_id, submission_id, route, receiver, nachrichten_uuid, \
     engine_version, generation, mapping, mapping_hash, schema_package, content_hash, main, parts, state, \
     created_at, pinned, ersetzt FROM message";

pub(super) fn message(row: &Row) -> Result<MessageRecord, StoreError> {
    Ok(MessageRecord {
        tenant: parsed(row, 0)?,
        message_id: parsed(row, 1)?,
        submission_id: parsed(row, 2)?,
        route: get(row, 3)?,
        receiver: get(row, 4)?,
        nachrichten_uuid: parsed(row, 5)?,
        engine_version: get(row, 6)?,
        generation: parsed(row, 7)?,
        mapping: get(row, 8)?,
        mapping_hash: parsed(row, 9)?,
        schema_package: parsed_opt(row, 10)?,
        content_hash: parsed(row, 11)?,
        main: from_json(row, 12)?,
        parts: from_json(row, 13)?,
        pinned: from_json_opt(row, 16)?,
        ersetzt: parsed_opt(row, 17)?,
        state: parsed(row, 14)?,
        created_at: moment(row, 15)?,
    })
}

pub(super) const DELIVERY: &str = "SELECT tenant, delivery_id, message_id, submission_id, lane, state, \
     next_try_at, attempts, receipt, ticket, queued, give_up_at, settles, settle_waits FROM delivery";

pub(super) fn delivery(row: &Row) -> Result<DeliveryRecord, StoreError> {
    let waits = get(row, 13)?;
    let when: Option<SettleAt> = parsed_opt(row, 12)?;
    Ok(DeliveryRecord {
        tenant: parsed(row, 0)?,
        delivery_id: parsed(row, 1)?,
        message_id: parsed(row, 2)?,
        submission_id: parsed(row, 3)?,
        lane: get(row, 4)?,
        state: parsed(row, 5)?,
        next_try_at: moment_opt(row, 6)?,
        attempts: count(row, 7)?,
        receipt: from_json_opt(row, 8)?,
        ticket: from_json_opt(row, 9)?,
        queued: get(row, 10)?,
        give_up_at: moment(row, 11)?,
        settles: when.map(|when| Settlement { when, waits }),
    })
}

pub(super) const ATTEMPT: &str = "SELECT attempt_id, delivery_id, kind, number, started_at, ended_at, outcome, \
     level, problem FROM attempt";

pub(super) fn attempt(row: &Row) -> Result<AttemptRecord, StoreError> {
    let level: Option<&str> = get(row, 7)?;
    Ok(AttemptRecord {
        attempt_id: parsed(row, 0)?,
        delivery_id: parsed(row, 1)?,
        kind: parsed(row, 2)?,
        number: count(row, 3)?,
        started_at: moment(row, 4)?,
        ended_at: moment_opt(row, 5)?,
        outcome: parsed_opt(row, 6)?,
        level: level.map(|word| from_word(word, 7)).transpose()?,
        problem: from_json_opt(row, 8)?,
    })
}

pub(super) const WORK_ITEM: &str = "SELECT tenant, work_item_id, class, fingerprint, diagnostics, opened_at, \
     closed_at, submission_id, message_id, delivery_id, origin FROM work_item";

pub(super) fn work_item(row: &Row) -> Result<WorkItemRecord, StoreError> {
    Ok(WorkItemRecord {
        tenant: parsed(row, 0)?,
        work_item_id: parsed(row, 1)?,
        class: from_word(get(row, 2)?, 2)?,
        fingerprint: get(row, 3)?,
        diagnostics: from_json(row, 4)?,
        opened_at: moment(row, 5)?,
        closed_at: moment_opt(row, 6)?,
        submission_id: parsed(row, 7)?,
        message_id: parsed_opt(row, 8)?,
        delivery_id: parsed_opt(row, 9)?,
        origin: from_json_opt(row, 10)?,
    })
}

pub(super) const CORRECTION: &str = "SELECT seq, at, path, before, after, reason, who FROM correction";

pub(super) fn correction(row: &Row) -> Result<CorrectionRecord, StoreError> {
    Ok(CorrectionRecord {
        seq: count(row, 0)?,
        at: moment(row, 1)?,
        path: get(row, 2)?,
        before: get(row, 3)?,
        after: get(row, 4)?,
        reason: get(row, 5)?,
        who: get(row, 6)?,
    })
}

pub(super) const EVENT: &str = "SELECT at, kind, submission_id, message_id, delivery_id, params FROM event";

pub(super) fn event(row: &Row) -> Result<EventRecord, StoreError> {
    Ok(EventRecord {
        at: moment(row, 0)?,
        kind: get(row, 1)?,
        submission_id: parsed(row, 2)?,
        message_id: parsed_opt(row, 3)?,
        delivery_id: parsed_opt(row, 4)?,
        params: from_json(row, 5)?,
    })
}
