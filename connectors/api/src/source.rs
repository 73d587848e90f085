// SPDX-License-Identifier: EUPL-1.2
//! Sources that are asked for their payloads: a [`SourceKind`] checks and builds, the [`Source`] it built brings
//! payloads in and lets go of nothing by itself. Letting go, that is settling, is a delivery to the source: the kind
//! builds the [`Connector`] that performs it, and attempts, repetition and records are the engine's.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use kop_core::{Diagnostic, TenantId, Zeitpunkt};
use tokio_util::sync::CancellationToken;

use crate::{
    connector::{Connector, World},
    inbox::{Accepted, BlobSink, Inbox, Refusal},
    intake::{HttpIntake, Intake},
    settings::SettingProblem,
};

/// How a payload's source is told, once its route's moment has come, that it may let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlementOrder {
    /// The source's name, as in `[quelle.NAME]`.
    pub source: String,
    /// Whatever the source's connector needs to find the payload again; at most a few kilobytes. The same bytes for
    /// the same payload, however often it is brought. They are kept like the contents of an application.
    pub ticket: Bytes,
    /// The source takes the payload back, or gives it up, at this moment.
    pub deadline: Option<Zeitpunkt>,
}

/// A vendor's format with the limits that the tenant has set for it.
#[derive(Clone)]
pub struct Format {
    /// Reads the payload.
    pub intake: Arc<dyn HttpIntake>,
    /// Its settings, without a login.
    pub settings: Arc<serde_json::Value>,
}

/// What a source saw; counted for whoever looks after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// A payload was stored.
    Taken,
    /// A payload was stored before.
    Repeated,
    /// A payload cannot be read and was put aside.
    Refused,
    /// The source or a payload could not be looked at; it will be tried again.
    Failed,
}

impl Seen {
    /// The word, as metrics show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "angenommen",
            Self::Repeated => "wiederholt",
            Self::Refused => "abgelehnt",
            Self::Failed => "fehlgeschlagen",
        }
    }
}

/// Where a source works.
#[derive(Clone)]
pub struct SourcePlace {
    /// The Mandant.
    pub tenant: TenantId,
    /// The source's name, as in `[quelle.NAME]`.
    pub name: String,
    /// Files, time and blobs.
    pub world: World,
    /// The formats that the binary reads.
    pub formats: Vec<Format>,
    /// Counts.
    pub tell: Arc<dyn Fn(Seen) + Send + Sync>,
}

/// A kind of source: `ordner`, …; registered by the binary.
pub trait SourceKind: Send + Sync {
    /// Short name, as in `art = "ordner"`.
    fn name(&self) -> &'static str;

    /// JSON Schema of the settings (without `art` and `wiederholung`).
    fn schema(&self) -> schemars::Schema;

    /// Checks settings without touching the world; `formats` are the names of the formats that can be read.
    fn check(&self, settings: &serde_json::Value, formats: &[&str]) -> Vec<SettingProblem>;

    /// The formats in which its payloads come, by their intakes' short names.
    fn brings(&self, settings: &serde_json::Value) -> Vec<String>;

    /// Builds a source from settings that passed [`SourceKind::check`]. Opens no connection.
    ///
    /// # Errors
    /// A secret cannot be resolved.
    fn build(&self, settings: &serde_json::Value, place: SourcePlace) -> Result<Box<dyn Source>, Diagnostic>;

    /// Builds what settles: [`Connector::deliver`] gets a Sendung whose main document is the ticket. What is settled
    /// already, or not there any more, is a receipt.
    ///
    /// # Errors
    /// A secret cannot be resolved.
    fn settler(&self, settings: &serde_json::Value, world: &World) -> Result<Arc<dyn Connector>, Diagnostic>;
}

/// Brings payloads in until it is stopped.
#[async_trait]
pub trait Source: Send + 'static {
    /// Asks for payloads and hands each to the inbox, with a [`SettlementOrder`]. What the inbox has not stored stays
    /// where it is. A source that cannot be reached is tried again by the source itself, more and more seldom.
    ///
    /// # Errors
    /// It cannot go on; whoever runs it starts it anew after a while.
    async fn run(self: Box<Self>, inbox: Arc<dyn Inbox>, stop: CancellationToken) -> Result<(), Diagnostic>;
}

/// An inbox that gives whatever it accepts an order to settle.
pub struct Settled {
    /// Where it goes.
    pub inbox: Arc<dyn Inbox>,
    /// How its source is told.
    pub order: SettlementOrder,
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").field("order", &self.order).finish_non_exhaustive()
    }
}

#[async_trait]
impl Inbox for Settled {
    async fn blob(&self, tenant: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        self.inbox.blob(tenant).await
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        self.inbox.accept(Intake { settlement: Some(self.order.clone()), ..intake }).await
    }
}
