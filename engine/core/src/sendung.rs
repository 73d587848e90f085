// SPDX-License-Identifier: EUPL-1.2
//! A Sendung and what may become of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Diagnostic,
    hash::ContentHash,
    ids::{DeliveryId, MessageId, TenantId},
    stage::Stage,
};

/// Bytes in the tenant's content-addressed blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BlobRef {
    /// SHA-256 of the content; also its key.
    pub sha256: ContentHash,
    /// Length in bytes.
    pub size: u64,
}

/// One file of a Sendung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Safe file name, unique within the Sendung.
    pub name: String,
    /// Media type.
    pub content_type: String,
    /// The bytes.
    pub blob: BlobRef,
}

/// Main document and named parts for one receiver, as handed to a connector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sendung {
    /// The Mandant.
    pub tenant: TenantId,
    /// The message; stays the same over all attempts.
    pub message_id: MessageId,
    /// The delivery; the idempotency key towards the receiver.
    pub delivery_id: DeliveryId,
    /// The tenant's stage.
    pub stage: Stage,
    /// What sender and clerk quote.
    pub vorgangsnummer: String,
    /// Mapping that made it, by name.
    pub mapping: String,
    /// When the submission was received.
    pub received_at: crate::clock::Zeitpunkt,
    /// When the message was made; the same at every attempt.
    pub created_at: crate::clock::Zeitpunkt,
    /// Main document.
    pub main: Part,
    /// Everything beside it.
    pub parts: Vec<Part>,
}

impl Sendung {
    /// Main document and parts, main first.
    pub fn all_parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.main).chain(&self.parts)
    }

    /// One hash over names and contents of everything that is sent.
    pub fn content_hash(main: &Part, parts: &[Part]) -> ContentHash {
        ContentHash::of_parts(
            std::iter::once(main)
                .chain(parts)
                .map(|part| (part.name.as_str(), &part.blob.sha256.as_bytes()[..])),
        )
    }
}

/// How far a delivery got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Handed to the transport (a folder, a mail server).
    Uebergeben,
    /// The transport says that it arrived.
    Transportiert,
    /// The receiver's system has it.
    Empfangen,
    /// The receiver took it on.
    Angenommen,
}

impl Level {
    /// The word for it, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uebergeben => "uebergeben",
            Self::Transportiert => "transportiert",
            Self::Empfangen => "empfangen",
            Self::Angenommen => "angenommen",
        }
    }
}

/// Proof of a finished attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// How far it got.
    pub level: Level,
    /// The receiver's own reference (object id, path below the configured folder, response id), if any.
    pub reference: Option<String>,
}

/// A delivery that the receiver will decide on later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// What the connector needs to ask again.
    pub reference: String,
    /// Earliest next question.
    pub ask_after: Duration,
}

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Done.
    Receipt(Receipt),
    /// Handed over, to be followed up.
    Pending(Ticket),
    /// Not done, nothing has happened at the receiver: try again, not before `after` where the receiver says.
    Retry {
        /// The receiver's own wish (Retry-After).
        after: Option<Duration>,
        /// What went wrong.
        problem: Diagnostic,
    },
    /// The receiver says no; trying again changes nothing.
    Reject(Diagnostic),
    /// It cannot be told whether the receiver has it.
    Unknown(Diagnostic),
}

/// What may be done when it is not known whether an attempt arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Repeatability {
    /// The receiver recognises the same key: send the same bytes again.
    Idempotent,
    /// The receiver can be asked.
    Queryable,
    /// Neither: a person decides.
    Unsafe,
}
