// SPDX-License-Identifier: EUPL-1.2
//! Traces of one process: where its spans go, and what sends them on.

use std::sync::Arc;

use kop_connector_api::Traces;
use kop_core::{Diagnostic, IdSource};
use kop_flow::ENGINE_VERSION;
use kop_web::otlp::{self, Exporter, Exporting, Resource};

use crate::{
    instance::Instance,
    machine::{MachineClock, TimeOrderedIds},
};

/// Both ends of the queue, or neither where traces are not set up.
#[derive(Default)]
pub(crate) struct Tracing {
    pub(crate) sink: Option<Arc<dyn Traces>>,
    exporter: Option<Exporter>,
}

/// What sends spans on while a process runs.
pub(crate) struct Sending(Option<Exporting>);

impl Tracing {
    /// As `kop.toml` wants it.
    ///
    /// # Errors
    /// Credentials or certificates cannot be read.
    pub(crate) fn of(instance: &Instance) -> Result<Self, Diagnostic> {
        let Some(plan) = instance.traces.clone() else { return Ok(Self::default()) };
        let resource =
            Resource { name: "kop", version: ENGINE_VERSION, instance: TimeOrderedIds.next().to_string() };
        let (sink, exporter) = otlp::open(plan, &instance.config.base_dir, resource, Arc::new(MachineClock))?;
        Ok(Self { sink: Some(sink), exporter: Some(exporter) })
    }

    /// The same for a single command, which goes on without traces where they cannot be set up: the person at the
    /// terminal need not have the service's secrets.
    pub(crate) fn of_command(instance: &Instance) -> Self {
        Self::of(instance).unwrap_or_else(|problem| {
            tracing::warn!(%problem, "No traces of this command.");
            Self::default()
        })
    }

    /// Begins to send, on the present runtime.
    pub(crate) fn start(&mut self) -> Sending {
        Sending(self.exporter.take().map(Exporter::start))
    }
}

impl Sending {
    /// Sends what waits, within a short time.
    pub(crate) async fn finish(self) {
        if let Some(exporting) = self.0 {
            exporting.finish().await;
        }
    }
}
