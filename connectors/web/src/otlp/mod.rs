// SPDX-License-Identifier: EUPL-1.2
//! Traces over OTLP/HTTP (OpenTelemetry Protocol 1.x) to a collector. A bounded queue lies between the engine, which
//! only puts spans into it, and one task, which empties it: a collector that is slow, away or hostile costs spans and
//! nothing else.

mod encode;
mod export;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kop_connector_api::{SpanNumbers, Traces};
use kop_core::{Clock, Diagnostic, Span};
use tokio::sync::mpsc;

pub use export::{Exporter, Exporting};
pub use settings::{TracePlan, TraceSettings};

/// Who tells: resource attributes by the semantic conventions (`service.*`).
#[derive(Clone, Debug)]
pub struct Resource {
    /// `service.name`.
    pub name: &'static str,
    /// `service.version`.
    pub version: &'static str,
    /// `service.instance.id`: no other process has the same.
    pub instance: String,
}

/// What became of spans, counted by both sides of the queue.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    no_room: AtomicU64,
    not_reached: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn read(&self) -> SpanNumbers {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        SpanNumbers {
            exported: of(&self.exported),
            no_room: of(&self.no_room),
            not_reached: of(&self.not_reached),
            refused: of(&self.refused),
        }
    }
}

/// The engine's end of the queue.
struct Queue {
    spans: mpsc::Sender<Span>,
    counts: Arc<Counts>,
}

impl Traces for Queue {
    fn record(&self, span: Span) {
        // Without waiting: there is room, or there is none.
        if self.spans.try_send(span).is_err() {
            self.counts.no_room.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn numbers(&self) -> SpanNumbers {
        self.counts.read()
    }
}

/// JSON Schema of the settings.
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(TraceSettings)
}

/// Both ends of a queue to a collector; opens no connection. Relative paths start at `base_dir`.
///
/// # Errors
/// Credentials or certificates cannot be read (KOP-S030).
pub fn open(
    plan: TracePlan,
    base_dir: &Path,
    resource: Resource,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<dyn Traces>, Exporter), Diagnostic> {
    let (spans, queue) = mpsc::channel(plan.queue);
    let counts = Arc::new(Counts::default());
    let exporter = Exporter::new(plan, base_dir, resource, clock, queue, counts.clone())?;
    Ok((Arc::new(Queue { spans, counts }), exporter))
}
