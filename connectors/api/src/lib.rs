// SPDX-License-Identifier: EUPL-1.2
//! The contract between the engine and everything that speaks to the outside: intakes, sources, adapters,
//! connectors.
//!
//! Connectors know only this crate (and `kop-core`); nothing in `engine/` names a connector. The binary hands
//! the engine one registry slice of each kind.

pub mod connector;
pub mod inbox;
pub mod intake;
pub mod mailbox;
pub mod scan;
pub mod secret;
pub mod settings;
pub mod source;
pub mod traces;

pub use connector::{BlobRead, Blobs, Connector, ConnectorKind, Expiry, World};
pub use inbox::{Accepted, BlobSink, Inbox, Refusal, RefusalKind};
pub use intake::{
    Adapter, BodyStream, FileStream, HttpIntake, Intake, IntakePart, IntakeRequest, IntakeResponse,
    Normalised, PayloadFile, media_type_of,
};
pub use mailbox::Mailbox;
pub use scan::{Scanner, ScannerKind, Verdict};
pub use secret::Secret;
pub use settings::{SettingProblem, parse_settings, serde_in_german};
pub use source::{Format, Seen, Settled, SettlementOrder, Source, SourceKind, SourcePlace};
pub use traces::{SpanNumbers, Traces};
