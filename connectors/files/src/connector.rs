// SPDX-License-Identifier: EUPL-1.2
//! The connector `ordner`: checks settings, builds, and hands the work to a thread that may block.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use kop_connector_api::{Blobs, Connector, ConnectorKind, SettingProblem, World};
use kop_core::{Diagnostic, Outcome, Repeatability, Sendung, Ticket};
use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{
    handover::{self, Handover},
    problem,
    settings::{FolderSettings, Plan},
};

/// The kind `ordner`: one directory per Sendung.
#[derive(Clone, Copy, Debug, Default)]
pub struct FolderKind;

impl ConnectorKind for FolderKind {
    fn name(&self) -> &'static str {
        "ordner"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(FolderSettings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        Plan::read(settings).err().unwrap_or_default()
    }

    fn build(&self, settings: &serde_json::Value, world: &World) -> Result<Arc<dyn Connector>, Diagnostic> {
        let plan = Plan::read(settings).map_err(SettingProblem::refusal)?;
        Ok(Arc::new(Folder {
            base_dir: world.base_dir.clone(),
            plan: Arc::new(plan),
            blobs: world.blobs.clone(),
        }))
    }
}

struct Folder {
    base_dir: PathBuf,
    plan: Arc<Plan>,
    blobs: Arc<dyn Blobs>,
}

/// Tells the thread that nobody waits any more.
struct StopWhenDropped(Arc<AtomicBool>);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Connector for Folder {
    fn repeatability(&self) -> Repeatability {
        Repeatability::Idempotent
    }

    async fn probe(&self) -> Result<(), Diagnostic> {
        let (base_dir, plan) = (self.base_dir.clone(), self.plan.clone());
        match spawn_blocking(move || handover::probe(&base_dir, &plan)).await {
            Ok(done) => done.map_err(|error| problem::disk(&error)),
            Err(error) => Err(problem::disk(&error.into())),
        }
    }

    async fn deliver(&self, sendung: &Sendung) -> Outcome {
        let stop = Arc::new(AtomicBool::new(false));
        let _guard = StopWhenDropped(stop.clone());
        let handover = Handover {
            base_dir: self.base_dir.clone(),
            plan: self.plan.clone(),
            blobs: self.blobs.clone(),
            sendung: sendung.clone(),
            runtime: Handle::current(),
            stop,
        };
        match spawn_blocking(move || handover.run()).await {
            Ok(Ok(receipt)) => Outcome::Receipt(receipt),
            Ok(Err(failure)) => failure.into(),
            // The runtime is shutting down; the next attempt finds what this one left.
            Err(error) => Outcome::Unknown(problem::disk(&error.into())),
        }
    }

    async fn follow_up(&self, _: &Ticket) -> Outcome {
        Outcome::Unknown(problem::cannot_be_asked())
    }
}
