// SPDX-License-Identifier: EUPL-1.2
//! Runs the pull sources of all tenants: starts what the configuration names, stops what it does not name any more,
//! starts anew what ended. What they bring goes through the same door as everything else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use kop_connector_api::{
    Accepted, BlobSink, Format, HttpIntake, Inbox, Intake, Refusal, RefusalKind, Seen, SourcePlace,
};
use kop_core::{Diagnostic, TenantId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Reception, engine::Engine};

/// Between two looks at the configuration.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A source that ended is started anew after this.
const REST: Duration = Duration::from_secs(30);

/// Whether applications are taken in at the moment; says why not.
pub type Closed = Arc<dyn Fn() -> Option<Diagnostic> + Send + Sync>;

/// A source of a tenant.
type Key = (TenantId, String);

struct Running {
    /// What it was started with.
    settings: Vec<Arc<serde_json::Value>>,
    kind: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Runs until stopped; then waits for the sources to end.
pub async fn run_sources(
    engine: Arc<Engine>,
    intakes: Vec<Arc<dyn HttpIntake>>,
    closed: Closed,
    stop: CancellationToken,
) {
    let inbox: Arc<dyn Inbox> = Arc::new(Guarded { reception: Reception(engine.clone()), closed });
    let mut running: BTreeMap<Key, Running> = BTreeMap::new();
    while !stop.is_cancelled() {
        let mut wanted = Vec::new();
        for generation in engine.parts.tenants.all() {
            let formats: Vec<Format> = intakes
                .iter()
                .map(|intake| {
                    let open = generation.intakes.get(intake.source());
                    let settings =
                        open.map_or_else(|| serde_json::json!({}), |open| intake.without_login(open));
                    Format { intake: intake.clone(), settings: Arc::new(settings) }
                })
                .collect();
            for source in generation.sources.values() {
                let mut settings = vec![source.settings.clone()];
                settings.extend(formats.iter().map(|format| format.settings.clone()));
                let key = (generation.tenant.clone(), source.name.clone());
                wanted.push((key, source.kind.clone(), settings, formats.clone()));
            }
        }
        let gone: Vec<Key> = running
            .iter()
            .filter(|(key, one)| {
                !wanted.iter().any(|(wanted, kind, settings, _)| {
                    wanted == *key && *kind == one.kind && *settings == one.settings
                })
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            if let Some(old) = running.remove(&key) {
                tracing::info!(tenant = %key.0, source = key.1, "Source stopped; the configuration has changed.");
                old.stop.cancel();
                let _ = old.task.await;
            }
        }
        for (key, kind, settings, formats) in wanted {
            if running.contains_key(&key) {
                continue;
            }
            tracing::info!(tenant = %key.0, source = key.1, kind, "Source started.");
            let stop = stop.child_token();
            let work = keep_running(
                engine.clone(),
                key.clone(),
                kind.clone(),
                settings[0].clone(),
                formats,
                inbox.clone(),
                stop.clone(),
            );
            running.insert(key, Running { settings, kind, stop, task: tokio::spawn(work) });
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    for one in running.into_values() {
        let _ = one.task.await;
    }
}

/// One source, started anew whenever it ends before it is stopped.
async fn keep_running(
    engine: Arc<Engine>,
    key: Key,
    kind: String,
    settings: Arc<serde_json::Value>,
    formats: Vec<Format>,
    inbox: Arc<dyn Inbox>,
    stop: CancellationToken,
) {
    let (tenant, name) = key;
    while !stop.is_cancelled() {
        let counting = (engine.clone(), tenant.clone(), name.clone());
        let place = SourcePlace {
            tenant: tenant.clone(),
            name: name.clone(),
            world: engine.world(),
            formats: formats.clone(),
            tell: Arc::new(move |seen| counting.0.metrics.source(&counting.1, &counting.2, seen)),
        };
        let tell = place.tell.clone();
        let built = match engine.parts.sources.iter().find(|one| one.name() == kind) {
            Some(kind) => kind.build(&settings, place),
            // The check of the configuration refuses this.
            None => return,
        };
        // A panic ends the source, not the others.
        let ended = match built {
            Ok(source) => {
                let task = tokio::spawn(source.run(inbox.clone(), stop.clone()));
                task.await.unwrap_or_else(|_| Err(broken()))
            }
            Err(problem) => Err(problem),
        };
        if let Err(problem) = ended {
            tell(Seen::Failed);
            tracing::error!(%tenant, source = name, %problem, "A source ended; it is started anew in a while.");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }
}

fn broken() -> Diagnostic {
    Diagnostic::new(
        "KOP-F024",
        "Die Abholung bei einer Quelle wurde unerwartet beendet.",
        "Asking a source ended unexpectedly.",
    )
}

/// The reception behind the same door as that of senders: closed under pressure.
struct Guarded {
    reception: Reception,
    closed: Closed,
}

impl Guarded {
    fn open(&self) -> Result<(), Refusal> {
        (self.closed)().map_or(Ok(()), |problem| Err(Refusal::new(RefusalKind::Busy, problem)))
    }
}

#[async_trait]
impl Inbox for Guarded {
    async fn blob(&self, tenant: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        self.open()?;
        self.reception.blob(tenant).await
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        self.open()?;
        self.reception.accept(intake).await
    }
}
