// SPDX-License-Identifier: EUPL-1.2
//! Between rows and records. What cannot be read back was damaged or written by someone else.

use std::str::FromStr;

use kop_core::{
    AttemptId, ContentHash, DeliveryId, MessageId, SettleAt, TenantId, clock::Zeitpunkt, diagnostic::Class,
};
use rusqlite::{Connection, Row, types::Type};
use serde::de::DeserializeOwned;

pub(super) use crate::values::{after, exact, json, micros, span, word};
use crate::{
    error::StoreError,
    records::{
        AttemptRecord, CorrectionRecord, DeliveryRecord, EventRecord, MessageRecord, SubmissionRecord,
        SubmissionSummary, WorkItemRecord,
    },
    settlement::Settlement,
};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match &error {
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound,
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked => Self::Busy,
                rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase => {
                    Self::Damaged("database".to_owned())
                }
                rusqlite::ErrorCode::DiskFull => Self::Full("database".to_owned()),
                _ => Self::Database(error.to_string()),
            },
            rusqlite::Error::FromSqlConversionFailure(column, ..) => {
                // The inner error could repeat the text of the column.
                Self::Damaged(format!("a row cannot be read, column {column}"))
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

fn broken(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

/// A column read through [`FromStr`].
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| broken(column, error))
}

/// The same, for a column that may be NULL.
pub(super) fn parsed_opt<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => text.parse().map(Some).map_err(|error| broken(column, error)),
        None => Ok(None),
    }
}

pub(super) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(row.get_ref(column)?.as_str()?).map_err(|error| broken(column, error))
}

pub(super) fn from_json_opt<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => serde_json::from_str(text).map(Some).map_err(|error| broken(column, error)),
        None => Ok(None),
    }
}

pub(super) fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Zeitpunkt> {
    Zeitpunkt::from_microsecond(row.get(column)?).map_err(|error| broken(column, error))
}

pub(super) fn moment_opt(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Zeitpunkt>> {
    let micros: Option<i64> = row.get(column)?;
    micros.map(Zeitpunkt::from_microsecond).transpose().map_err(|error| broken(column, error))
}

fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text))
        .map_err(|error| broken(column, error))
}

pub(super) const SUMMARY: &str = "s.tenant, s.submission_id, s.vorgang_id, s.vorgangsnummer, s.source, \
     s.vendor_id, s.form_id, s.form_name, s.received_at, s.state, s.runs, s.content_deleted_at";

pub(super) fn summary(row: &Row<'_>) -> rusqlite::Result<SubmissionSummary> {
    Ok(SubmissionSummary {
        tenant: parsed(row, 0)?,
        submission_id: parsed(row, 1)?,
        vorgang_id: parsed(row, 2)?,
        vorgangsnummer: row.get(3)?,
        source: row.get(4)?,
        vendor_id: row.get(5)?,
        form_id: row.get(6)?,
        form_name: row.get(7)?,
        received_at: moment(row, 8)?,
        state: parsed(row, 9)?,
        runs: row.get(10)?,
        content_deleted_at: moment_opt(row, 11)?,
    })
}

/// A whole submission.
pub(super) fn submission(conn: &Connection, tenant: &str, id: &str) -> rusqlite::Result<SubmissionRecord> {
    conn.prepare_cached(&format!(
        "SELECT {SUMMARY}, s.content_hash, coalesce(c.document, x''), coalesce(c.payload, '[]')
         FROM submission s LEFT JOIN submission_content c USING (tenant, submission_id)
         WHERE s.tenant = ?1 AND s.submission_id = ?2"
    ))?
    .query_row((tenant, id), |row| {
        Ok(SubmissionRecord {
            summary: summary(row)?,
            content_hash: parsed(row, 12)?,
            document: row.get(13)?,
            payload: from_json(row, 14)?,
        })
    })
}

pub(super) const MESSAGE: &str = "SELECT tenant, message_id, submission_id, route, receiver, nachrichten_uuid, \
     engine_version, generation, mapping, mapping_hash, schema_package, content_hash, main, parts, state, \
     created_at, pinned, ersetzt FROM message";

pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<MessageRecord> {
    Ok(MessageRecord {
        tenant: parsed(row, 0)?,
        message_id: parsed(row, 1)?,
        submission_id: parsed(row, 2)?,
        route: row.get(3)?,
        receiver: row.get(4)?,
        nachrichten_uuid: parsed(row, 5)?,
        engine_version: row.get(6)?,
        generation: parsed(row, 7)?,
        mapping: row.get(8)?,
        mapping_hash: parsed(row, 9)?,
        schema_package: parsed_opt::<ContentHash>(row, 10)?,
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

pub(super) fn delivery(row: &Row<'_>) -> rusqlite::Result<DeliveryRecord> {
    let waits = row.get(13)?;
    let when: Option<SettleAt> = parsed_opt(row, 12)?;
    Ok(DeliveryRecord {
        tenant: parsed(row, 0)?,
        delivery_id: parsed(row, 1)?,
        message_id: parsed(row, 2)?,
        submission_id: parsed(row, 3)?,
        lane: row.get(4)?,
        state: parsed(row, 5)?,
        next_try_at: moment_opt(row, 6)?,
        attempts: row.get(7)?,
        receipt: from_json_opt(row, 8)?,
        ticket: from_json_opt(row, 9)?,
        queued: row.get(10)?,
        give_up_at: moment(row, 11)?,
        settles: when.map(|when| Settlement { when, waits }),
    })
}

pub(super) const ATTEMPT: &str = "SELECT attempt_id, delivery_id, kind, number, started_at, ended_at, outcome, \
     level, problem FROM attempt";

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let level: Option<String> = row.get(7)?;
    Ok(AttemptRecord {
        attempt_id: parsed::<AttemptId>(row, 0)?,
        delivery_id: parsed(row, 1)?,
        kind: parsed(row, 2)?,
        number: row.get(3)?,
        started_at: moment(row, 4)?,
        ended_at: moment_opt(row, 5)?,
        outcome: parsed_opt(row, 6)?,
        level: level.map(|_| from_word(row, 7)).transpose()?,
        problem: from_json_opt(row, 8)?,
    })
}

pub(super) const WORK_ITEM: &str = "SELECT tenant, work_item_id, class, fingerprint, diagnostics, opened_at, \
     closed_at, submission_id, message_id, delivery_id, origin FROM work_item";

pub(super) fn work_item(row: &Row<'_>) -> rusqlite::Result<WorkItemRecord> {
    Ok(WorkItemRecord {
        tenant: parsed::<TenantId>(row, 0)?,
        work_item_id: parsed(row, 1)?,
        class: from_word::<Class>(row, 2)?,
        fingerprint: row.get(3)?,
        diagnostics: from_json(row, 4)?,
        opened_at: moment(row, 5)?,
        closed_at: moment_opt(row, 6)?,
        submission_id: parsed(row, 7)?,
        message_id: parsed_opt::<MessageId>(row, 8)?,
        delivery_id: parsed_opt::<DeliveryId>(row, 9)?,
        origin: from_json_opt(row, 10)?,
    })
}

pub(super) const CORRECTION: &str = "SELECT seq, at, path, before, after, reason, who FROM correction";

pub(super) fn correction(row: &Row<'_>) -> rusqlite::Result<CorrectionRecord> {
    Ok(CorrectionRecord {
        seq: row.get(0)?,
        at: moment(row, 1)?,
        path: row.get(2)?,
        before: row.get(3)?,
        after: row.get(4)?,
        reason: row.get(5)?,
        who: row.get(6)?,
    })
}

pub(super) const EVENT: &str = "SELECT at, kind, submission_id, message_id, delivery_id, params FROM event";

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        at: moment(row, 0)?,
        kind: row.get(1)?,
        submission_id: parsed(row, 2)?,
        message_id: parsed_opt(row, 3)?,
        delivery_id: parsed_opt(row, 4)?,
        params: from_json(row, 5)?,
    })
}
