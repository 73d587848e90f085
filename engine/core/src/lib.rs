// SPDX-License-Identifier: EUPL-1.2
//! The words of KOP engine: ids, the internal document (Ablageformat), the mapped tree, diagnostics,
//! outcomes, retry schedules and the rules of lanes.
//!
//! This room knows nothing of files, networks, databases, scripts or XML. Everything here is plain data
//! that every other room may use; clock and ids are traits so that tests decide them.

pub mod clock;
pub mod codes;
pub mod diagnostic;
pub mod eingang;
pub mod feld;
pub mod forms;
pub mod hash;
pub mod ids;
pub mod lane;
pub mod mask;
pub mod path;
pub mod retry;
pub mod sendung;
pub mod settle;
pub mod similar;
pub mod stage;
pub mod trace;
pub mod tree;

pub use clock::{Clock, FixedClock, Zeitpunkt};
pub use diagnostic::{Class, Diagnostic, Severity};
pub use eingang::Eingang;
pub use feld::{Feld, FeldTyp, Inhalt, Wert};
pub use hash::ContentHash;
pub use ids::{AttemptId, DeliveryId, IdSource, MessageId, SubmissionId, TenantId, VorgangId, WorkItemId};
pub use lane::{Breaker, LaneHealth, LaneLimits, LanePolicy, Order, WhenParked};
pub use path::FeldPfad;
pub use retry::RetrySchedule;
pub use sendung::{BlobRef, Outcome, Part, Receipt, Repeatability, Sendung, Ticket};
pub use settle::SettleAt;
pub use stage::Stage;
pub use trace::Span;
pub use tree::Tree;
