// SPDX-License-Identifier: EUPL-1.2
//! What the machine could do without an engine: the same steps of the store (the same statements, commits and synced
//! files, since it is the same code), the same HTTP in and out, and a loop on the processor for as long as reading,
//! mapping, writing and validating take. It runs as a process of its own, as the program does.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use kop_core::{
    AttemptId, ContentHash, DeliveryId, Diagnostic, LaneHealth, LaneLimits, MessageId, Order, Part, Receipt,
    SubmissionId, TenantId, VorgangId, WhenParked, WorkItemId, Zeitpunkt, sendung::Level,
};
use kop_store::{
    AttemptEnd, ClaimedSubmission, DataFolder, FirstAttempt, NewDelivery, NewMessage, NewSubmission,
    NewWorkItem, PayloadPart, Processed, Store, SubmissionClaim, SubmissionState,
};
use tokio::sync::Notify;

use super::{client::Pool, program::Running};
use crate::Error;

const LEASE: Duration = Duration::from_secs(60);
/// Submissions processed at once, as in the engine.
const PROCESSING: u32 = 8;

/// What the floor is told.
pub struct Floor {
    /// Its data folder.
    pub data: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// To whom it delivers.
    pub receiver: SocketAddr,
    /// Turns of [`spin`] for one message.
    pub turns: u64,
    /// Length of a message in bytes.
    pub message: usize,
}

impl Floor {
    /// Starts this very program as a floor.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn start(&self, folder: &Path) -> Result<Running, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("boden")
            .arg(&self.data)
            .args([self.address.to_string(), self.receiver.to_string()])
            .args([self.turns.to_string(), self.message.to_string()]);
        Running::start(&mut command, self.address, folder.join("boden.log"))
    }

    /// Reads what [`Floor::start`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    pub fn of_arguments(arguments: &[String]) -> Result<Self, Error> {
        let [data, address, receiver, turns, message] = arguments else { return Err("boden".into()) };
        Ok(Self {
            data: data.into(),
            address: address.parse()?,
            receiver: receiver.parse()?,
            turns: turns.parse()?,
            message: message.parse()?,
        })
    }

    /// Serves until it is killed.
    ///
    /// # Errors
    /// When the data folder or the address cannot be had.
    pub async fn run(self) -> Result<(), Error> {
        let folder = DataFolder::serve_plain(&self.data)?;
        let work = Arc::new(Work {
            folder,
            tenant: "musterstadt".parse().map_err(|_| "Mandant")?,
            receiver: Pool::new(self.receiver),
            turns: self.turns,
            message: self.message,
            wake: Notify::new(),
            busy: AtomicU32::new(0),
        });
        tokio::spawn(process_all(work.clone()));
        let listener = tokio::net::TcpListener::bind(self.address).await?;
        let app = Router::new().route("/musterstadt/antrag", post(take_in)).with_state(work);
        Ok(axum::serve(listener, app).await?)
    }
}

struct Work {
    folder: DataFolder,
    tenant: TenantId,
    receiver: Pool,
    turns: u64,
    message: usize,
    wake: Notify,
    busy: AtomicU32,
}

async fn take_in(State(work): State<Arc<Work>>, body: Bytes) -> axum::response::Response {
    match accept(&work, body).await {
        Ok(number) => {
            work.wake.notify_one();
            number.into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}

async fn accept(work: &Work, body: Bytes) -> Result<String, Error> {
    let content_hash = ContentHash::of(&body);
    let document = body.to_vec();
    let blob = work.folder.blobs.put(&work.tenant, body).await?;
    let conflict = Diagnostic::new("KOP-F001", "Boden", "floor");
    let new = NewSubmission {
        tenant: work.tenant.clone(),
        submission_id: SubmissionId(id()),
        vorgang_id: VorgangId(id()),
        source: "ozg-cloud".to_owned(),
        idem_key: content_hash.to_string(),
        content_hash,
        vendor_id: Some(content_hash.to_string()),
        form_id: Some("bauantrag".to_owned()),
        form_name: Some("Antrag auf Baugenehmigung".to_owned()),
        number_prefix: "MUST".to_owned(),
        number_year: 2026,
        document: Box::new(move |_| Ok(document)),
        payload: vec![PayloadPart { key: "envelope".into(), file_name: None, content_type: None, blob }],
        remarks: Vec::new(),
        conflict: NewWorkItem::new(WorkItemId(id()), vec![conflict]),
        events: Vec::new(),
        settlement: None,
    };
    Ok(work.folder.store.accept(new, now()).await?.vorgangsnummer)
}

async fn process_all(work: Arc<Work>) {
    loop {
        let free = PROCESSING.saturating_sub(work.busy.load(Ordering::Relaxed));
        let claim = SubmissionClaim { lease_for: LEASE, limit: free, only: None };
        let claimed = if free == 0 {
            Vec::new()
        } else {
            work.folder.store.claim_submissions(claim, now()).await.unwrap_or_default()
        };
        if claimed.is_empty() {
            let _due = tokio::time::timeout(Duration::from_secs(2), work.wake.notified()).await;
        }
        for one in claimed {
            let work = work.clone();
            work.busy.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let _shown_by_the_receiver = process(&work, one).await;
            });
        }
    }
}

async fn process(work: &Work, claimed: ClaimedSubmission) -> Result<(), Error> {
    let made = make(work, claimed).await;
    work.busy.fetch_sub(1, Ordering::Relaxed);
    work.wake.notify_one();
    let (started, message) = made?;
    for started in started {
        let (status, _) = work.receiver.post("/annahme", "application/xml", &message).await?;
        let receipt = Receipt { level: Level::Empfangen, reference: Some(status.to_string()) };
        work.folder
            .store
            .finish_attempt(
                started.lease,
                AttemptEnd::Delivered(receipt),
                LaneHealth::Well,
                Vec::new(),
                now(),
            )
            .await?;
    }
    Ok(())
}

async fn make(
    work: &Work,
    claimed: ClaimedSubmission,
) -> Result<(Vec<kop_store::StartedAttempt>, Bytes), Error> {
    spin(work.turns);
    let mut message = claimed.submission.summary.vorgangsnummer.clone().into_bytes();
    message.resize(work.message, b' ');
    let message = Bytes::from(message);
    let blob = work.folder.blobs.put(&work.tenant, message.clone()).await?;
    let hash = blob.sha256;
    let main = Part { name: "antrag.xml".into(), content_type: "application/xml".into(), blob };
    let new = NewMessage {
        message_id: MessageId(id()),
        route: "Bauantrag".to_owned(),
        receiver: "bauaufsicht".to_owned(),
        nachrichten_uuid: id(),
        engine_version: "boden".to_owned(),
        generation: hash,
        mapping: "bauantrag-xbau".to_owned(),
        mapping_hash: hash,
        schema_package: Some(hash),
        content_hash: hash,
        main,
        parts: Vec::new(),
        pinned: serde_json::Value::Null,
        delivery: NewDelivery {
            delivery_id: DeliveryId(id()),
            order: Order::default(),
            when_parked: WhenParked::default(),
            tell_after: LEASE,
            give_up_after: LEASE,
            first_attempt: Some(FirstAttempt {
                attempt_id: AttemptId(id()),
                lease_for: LEASE,
                limits: LaneLimits { places: u32::MAX, per_minute: None },
            }),
        },
    };
    let processed = Processed {
        state: SubmissionState::Verarbeitet,
        messages: vec![new],
        work_items: Vec::new(),
        events: Vec::new(),
    };
    Ok((work.folder.store.record_processed(claimed.lease, processed, now()).await?, message))
}

/// Keeps a processor busy; the same number of turns takes the same work, whoever else wants the processor.
pub fn spin(turns: u64) -> u64 {
    let mut value = 0x9e37_79b9_7f4a_7c15_u64;
    for turn in 0..turns {
        value = std::hint::black_box(value.rotate_left(5) ^ turn).wrapping_mul(0x100_0000_01b3);
    }
    std::hint::black_box(value)
}

/// Turns of [`spin`] that take a µs, as the best of several tries.
pub fn turns_per_microsecond() -> f64 {
    let turns = 2_000_000_u64;
    let least = (0..9)
        .map(|_| {
            let begin = Instant::now();
            spin(turns);
            begin.elapsed()
        })
        .min()
        .unwrap_or_default();
    2e6 / (least.as_secs_f64() * 1e6)
}

#[allow(clippy::disallowed_methods, reason = "a benchmark meets the machine's clock here")]
fn now() -> Zeitpunkt {
    Zeitpunkt::now()
}

#[allow(clippy::disallowed_methods, reason = "as above, for ids")]
fn id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}
