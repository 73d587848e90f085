// SPDX-License-Identifier: EUPL-1.2
//! Collects what happened in a step, lines of the timeline and Klärungsfälle, and writes it at its end, in one go.

use kop_core::{DeliveryId, MessageId, SubmissionId, TenantId, clock::Zeitpunkt};
use serde_json::{Value, json};

use super::{pool::Conn, row};
use crate::{
    error::StoreError,
    records::Origin,
    steps::{NewEvent, NewWorkItem, event},
    values::{json as as_json, micros, word},
};

/// What a line is about, beside the submission.
#[derive(Clone, Copy, Default)]
pub(super) struct About {
    pub(super) message: Option<MessageId>,
    pub(super) delivery: Option<DeliveryId>,
}

/// The lines and Klärungsfälle of one submission's step.
pub(super) struct Timeline<'a> {
    tenant: &'a TenantId,
    submission: SubmissionId,
    now: Zeitpunkt,
    about: About,
    kinds: Vec<String>,
    messages: Vec<Option<String>>,
    deliveries: Vec<Option<String>>,
    params: Vec<String>,
    items: Vec<(String, About, NewWorkItem)>,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(tenant: &'a TenantId, submission: SubmissionId, now: Zeitpunkt) -> Self {
        Self {
            tenant,
            submission,
            now,
            about: About::default(),
            kinds: Vec::new(),
            messages: Vec::new(),
            deliveries: Vec::new(),
            params: Vec::new(),
            items: Vec::new(),
        }
    }

    /// What the next lines are about.
    pub(super) fn about(&mut self, message: Option<MessageId>, delivery: Option<DeliveryId>) -> &mut Self {
        self.about = About { message, delivery };
        self
    }

    /// Adds a line.
    pub(super) fn add(&mut self, kind: &str, params: &Value) -> Result<(), StoreError> {
        self.line(self.about, kind, params)
    }

    fn line(&mut self, about: About, kind: &str, params: &Value) -> Result<(), StoreError> {
        self.kinds.push(kind.to_owned());
        self.messages.push(about.message.map(|id| id.to_string()));
        self.deliveries.push(about.delivery.map(|id| id.to_string()));
        self.params.push(as_json(params)?);
        Ok(())
    }

    /// Adds the caller's lines.
    pub(super) fn add_all(&mut self, events: &[NewEvent]) -> Result<(), StoreError> {
        for event in events {
            let about = About {
                message: event.message_id.or(self.about.message),
                delivery: event.delivery_id.or(self.about.delivery),
            };
            self.line(about, &event.kind, &event.params)?;
        }
        Ok(())
    }

    /// Opens Klärungsfälle, each with its line. `step` says which part of the way opened them.
    pub(super) fn open_all(&mut self, step: &str, items: &[NewWorkItem]) -> Result<(), StoreError> {
        for item in items {
            let about = About {
                message: item.message_id.or(self.about.message),
                delivery: item.delivery_id.or(self.about.delivery),
            };
            let code = item.diagnostics.first().map(|problem| problem.code.as_str());
            self.line(about, event::KLAERUNG, &json!({ "klaerungsfall": item.work_item_id, "code": code }))?;
            self.items.push((step.to_owned(), about, item.clone()));
        }
        Ok(())
    }

    /// Closes what is open about a delivery.
    pub(super) async fn close_of_delivery(&self, conn: &Conn, delivery: &str) -> Result<(), StoreError> {
        conn.execute(
            "UPDATE work_item SET closed_at = $4
             WHERE tenant = $1 AND submission_id = $2 AND delivery_id = $3 AND closed_at IS NULL",
            &[&self.tenant.as_str(), &self.submission.to_string(), &delivery, &micros(self.now)],
        )
        .await?;
        Ok(())
    }

    /// The Klärungsfall's own origin, else that of the message it is about.
    async fn origin_of(
        &self,
        conn: &Conn,
        item: &NewWorkItem,
        message: Option<MessageId>,
    ) -> Result<Option<Origin>, StoreError> {
        let Some(message) = message.filter(|_| item.origin.is_none()) else { return Ok(item.origin.clone()) };
        let found = conn
            .query_opt(
                "SELECT route, receiver, mapping, mapping_hash FROM message
                 WHERE tenant = $1 AND message_id = $2 AND route <> ''",
                &[&self.tenant.as_str(), &message.to_string()],
            )
            .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Origin {
            route: row::get(&found, 0)?,
            receiver: row::get(&found, 1)?,
            mapping: row::get(&found, 2)?,
            mapping_hash: row::parsed(&found, 3)?,
            mapping_version: None,
        }))
    }

    /// Writes everything.
    pub(super) async fn write(self, conn: &Conn) -> Result<(), StoreError> {
        let (tenant, submission, at) = (self.tenant.as_str(), self.submission.to_string(), micros(self.now));
        for (step, about, item) in &self.items {
            let origin = self.origin_of(conn, item, about.message).await?;
            conn.execute(
                "INSERT INTO work_item (tenant, work_item_id, class, fingerprint, diagnostics, step, opened_at,
                     submission_id, message_id, delivery_id, origin)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                &[
                    &tenant,
                    &item.work_item_id.to_string(),
                    &word(&item.class)?,
                    &item.fingerprint,
                    &as_json(&item.diagnostics)?,
                    step,
                    &at,
                    &submission,
                    &about.message.map(|id| id.to_string()),
                    &about.delivery.map(|id| id.to_string()),
                    &origin.as_ref().map(as_json).transpose()?,
                ],
            )
            .await?;
        }
        if self.kinds.is_empty() {
            return Ok(());
        }
        conn.execute(
            "INSERT INTO event (tenant, submission_id, at, kind, message_id, delivery_id, params)
             SELECT $1, $2, $3, kind, message_id, delivery_id, params
             FROM unnest($4::text[], $5::text[], $6::text[], $7::text[])
                 WITH ORDINALITY AS line (kind, message_id, delivery_id, params, place) ORDER BY place",
            &[&tenant, &submission, &at, &self.kinds, &self.messages, &self.deliveries, &self.params],
        )
        .await?;
        Ok(())
    }
}
