// SPDX-License-Identifier: EUPL-1.2
//! Writes what happened: lines of the timeline and Klärungsfälle.

use kop_core::{DeliveryId, MessageId, SubmissionId, TenantId, clock::Zeitpunkt};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::row;
use crate::{
    error::StoreError,
    records::Origin,
    steps::{NewEvent, NewWorkItem, event},
};

/// Where events and Klärungsfälle of one step belong.
#[derive(Clone, Copy)]
pub(super) struct Timeline<'a> {
    pub(super) conn: &'a Connection,
    pub(super) tenant: &'a TenantId,
    pub(super) submission: SubmissionId,
    pub(super) message: Option<MessageId>,
    pub(super) delivery: Option<DeliveryId>,
    pub(super) now: Zeitpunkt,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        tenant: &'a TenantId,
        submission: SubmissionId,
        now: Zeitpunkt,
    ) -> Self {
        Self { conn, tenant, submission, message: None, delivery: None, now }
    }

    pub(super) fn about(self, message: MessageId, delivery: DeliveryId) -> Self {
        Self { message: Some(message), delivery: Some(delivery), ..self }
    }

    /// Adds a line.
    pub(super) fn add(&self, kind: &str, params: &Value) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "INSERT INTO event (tenant, submission_id, seq, at, kind, message_id, delivery_id, params)
                 SELECT ?1, ?2, coalesce(max(seq), 0) + 1, ?3, ?4, ?5, ?6, ?7 FROM event
                 WHERE tenant = ?1 AND submission_id = ?2",
            )?
            .execute((
                self.tenant.as_str(),
                self.submission.to_string(),
                row::micros(self.now),
                kind,
                self.message.map(|id| id.to_string()),
                self.delivery.map(|id| id.to_string()),
                row::json(params)?,
            ))?;
        Ok(())
    }

    /// Adds the caller's lines.
    pub(super) fn add_all(&self, events: &[NewEvent]) -> Result<(), StoreError> {
        events.iter().try_for_each(|event| {
            let message = event.message_id.or(self.message);
            let delivery = event.delivery_id.or(self.delivery);
            Self { message, delivery, ..*self }.add(&event.kind, &event.params)
        })
    }

    /// The Klärungsfall's own origin, else that of the message it is about.
    fn origin_of(
        &self,
        item: &NewWorkItem,
        message: Option<MessageId>,
    ) -> Result<Option<Origin>, StoreError> {
        let Some(message) = message.filter(|_| item.origin.is_none()) else { return Ok(item.origin.clone()) };
        let found = self
            .conn
            .prepare_cached(
                "SELECT route, receiver, mapping, mapping_hash FROM message
                 WHERE tenant = ?1 AND message_id = ?2 AND route <> ''",
            )?
            .query_row((self.tenant.as_str(), message.to_string()), |row| {
                Ok(Origin {
                    route: row.get(0)?,
                    receiver: row.get(1)?,
                    mapping: row.get(2)?,
                    mapping_hash: row::parsed(row, 3)?,
                    mapping_version: None,
                })
            })
            .optional()?;
        Ok(found)
    }

    /// Opens Klärungsfälle, each with its line. `step` says which part of the way opened them.
    pub(super) fn open_all(&self, step: &str, items: &[NewWorkItem]) -> Result<(), StoreError> {
        for item in items {
            let message = item.message_id.or(self.message);
            let delivery = item.delivery_id.or(self.delivery);
            self.conn
                .prepare_cached(
                    "INSERT INTO work_item (tenant, work_item_id, class, fingerprint, diagnostics, step, opened_at,
                         submission_id, message_id, delivery_id, origin)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )?
                .execute((
                    self.tenant.as_str(),
                    item.work_item_id.to_string(),
                    row::word(&item.class)?,
                    &item.fingerprint,
                    row::json(&item.diagnostics)?,
                    step,
                    row::micros(self.now),
                    self.submission.to_string(),
                    message.map(|id| id.to_string()),
                    delivery.map(|id| id.to_string()),
                    self.origin_of(item, message)?.as_ref().map(row::json).transpose()?,
                ))?;
            let code = item.diagnostics.first().map(|problem| problem.code.as_str());
            Self { message, delivery, ..*self }
                .add(event::KLAERUNG, &json!({ "klaerungsfall": item.work_item_id, "code": code }))?;
        }
        Ok(())
    }

    /// Closes what is open about a delivery.
    pub(super) fn close_of_delivery(&self, delivery: &str) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "UPDATE work_item SET closed_at = ?4
                 WHERE tenant = ?1 AND submission_id = ?2 AND delivery_id = ?3 AND closed_at IS NULL",
            )?
            .execute((self.tenant.as_str(), self.submission.to_string(), delivery, row::micros(self.now)))?;
        Ok(())
    }
}
