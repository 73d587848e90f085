// SPDX-License-Identifier: EUPL-1.2
//! The loop: look, read what is finished, hand it to the inbox, put aside what cannot be read. Nothing is moved here
//! that the inbox has stored; that is the settlement's business.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use kop_connector_api::{
    Accepted, BodyStream, FileStream, Format, Inbox, IntakeRequest, Refusal, RefusalKind, Seen, Settled,
    SettlementOrder, Source, SourcePlace, media_type_of,
};
use kop_core::{ContentHash, Diagnostic, Zeitpunkt};
use tokio::task::spawn_blocking;
use tokio_util::{io::ReaderStream, sync::CancellationToken};

use super::{
    FAULTY, Root, Ticket,
    look::{Memory, pause_after},
    settings::{Finished, Plan},
    settle::hex,
    walk::{self, Entry, Fault, Found, Place, Trouble},
};
use crate::{handover::CHUNK, problem, settings::HIDDEN};

/// Endings of names that are not final.
const NOT_FINAL: [&str; 2] = ["tmp", "part"];

/// A folder that is asked for applications.
pub(crate) struct FolderSource {
    root: Root,
    plan: Plan,
    format: Format,
    place: SourcePlace,
    memory: Memory,
}

/// Why an application was not stored.
enum Miss {
    /// It cannot be read, today or later.
    Unreadable(Diagnostic),
    /// Something went wrong that may pass.
    Later(Diagnostic),
    /// The door is closed for a while; nothing is wrong with the source.
    Closed,
    /// Somebody else has taken it away.
    Gone,
}

impl From<Trouble> for Miss {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Gone => Self::Gone,
            Trouble::Fault(Fault::TooMany) => Self::Unreadable(problem::too_many_files()),
            Trouble::Fault(_) => Self::Unreadable(problem::strange_entry()),
            Trouble::System(error) => Self::Later(system(&error)),
        }
    }
}

fn system(error: &io::Error) -> Diagnostic {
    if error.kind() == io::ErrorKind::ResourceBusy {
        problem::changed_meanwhile()
    } else {
        problem::source_folder(error)
    }
}

#[async_trait]
impl Source for FolderSource {
    async fn run(
        mut self: Box<Self>,
        inbox: Arc<dyn Inbox>,
        stop: CancellationToken,
    ) -> Result<(), Diagnostic> {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let pause = match self.look(&inbox, &stop).await {
                Ok(()) => {
                    failures = 0;
                    self.plan.pause
                }
                Err(error) => {
                    let problem = problem::source_folder(&error);
                    tracing::warn!(tenant = %self.place.tenant, source = self.place.name, %problem, "Folder skipped.");
                    (self.place.tell)(Seen::Failed);
                    failures += 1;
                    self.plan.pause.max(pause_after(failures - 1))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(())
    }
}

impl FolderSource {
    pub(crate) fn new(plan: Plan, format: Format, place: SourcePlace) -> Self {
        let root = Root { base_dir: place.world.base_dir.clone(), below: plan.folder.clone() };
        Self { root, plan, format, place, memory: Memory::default() }
    }

    fn now(&self) -> Zeitpunkt {
        self.place.world.clock.now()
    }

    /// The marker's name, where one tells what is finished.
    fn marker(&self) -> Option<String> {
        (self.plan.finished == Finished::Marke).then(|| self.plan.marker.clone())
    }

    /// One look at the folder.
    async fn look(&mut self, inbox: &Arc<dyn Inbox>, stop: &CancellationToken) -> io::Result<()> {
        let root = self.root.clone();
        let listed = spawn_blocking(move || {
            let handle = walk::open_root(&root)?;
            let names = walk::candidates(&handle)?;
            Ok::<_, io::Error>((Arc::new(handle), names))
        });
        let (handle, names) = listed.await??;
        self.memory.keep(&names.iter().map(|(name, _)| name.clone()).collect());
        for (name, touched) in names {
            if stop.is_cancelled() {
                break;
            }
            if not_final(&name) || !self.memory.is_due(&name, touched, self.now()) {
                continue;
            }
            match self.take(&handle, &name, inbox).await {
                Ok(()) | Err(Miss::Gone) => {}
                // The others would be told the same.
                Err(Miss::Closed) => break,
                Err(Miss::Later(problem)) => {
                    tracing::warn!(
                        tenant = %self.place.tenant, source = self.place.name, %problem,
                        "An application could not be fetched; it will be tried again."
                    );
                    (self.place.tell)(Seen::Failed);
                    self.memory.failed(&name, self.now());
                }
                Err(Miss::Unreadable(problem)) => self.put_aside(&handle, &name, problem).await,
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        handle: &Arc<OwnedFd>,
        name: &OsString,
        inbox: &Arc<dyn Inbox>,
    ) -> Result<(), Miss> {
        let marker = self.marker();
        let looked = {
            let (handle, name, marker) = (handle.clone(), name.clone(), marker.clone());
            spawn_blocking(move || walk::entry(&handle, &name, marker.as_deref())).await
        };
        let entry = match looked.map_err(io::Error::from).map_err(Trouble::System)? {
            Ok(entry) => entry,
            // Something that no application can be is one that nobody will ever finish.
            Err(trouble) => return Err(trouble.into()),
        };
        let now = self.now();
        let looks = (entry.state(), entry.touched);
        if self.memory.is_stored(name, looks, now) {
            return Ok(());
        }
        let finished = match self.plan.finished {
            Finished::Marke => entry.marked,
            Finished::Umbenannt => true,
            Finished::Ruhe => {
                let since = self.memory.unchanged_since(name, Some(looks), now);
                now.duration_since(since).unsigned_abs() >= self.plan.rest
            }
        };
        if !finished {
            self.memory.unchanged_since(name, Some(looks), now);
            if self.memory.tell(name, now) {
                let problem = problem::unfinished();
                tracing::warn!(tenant = %self.place.tenant, source = self.place.name, %problem, "Not finished.");
                (self.place.tell)(Seen::Failed);
            }
            return Ok(());
        }
        let accepted = self.hand_in(entry, name, looks.0, inbox.clone()).await?;
        (self.place.tell)(if accepted.repeated { Seen::Repeated } else { Seen::Taken });
        self.memory.stored(name, looks, self.now());
        Ok(())
    }

    /// Reads an application the way in which its vendor would send it.
    async fn hand_in(
        &self,
        entry: Entry,
        name: &OsStr,
        stand: ContentHash,
        inbox: Arc<dyn Inbox>,
    ) -> Result<Accepted, Miss> {
        let wanted = self.format.intake.payload_extension();
        let is_payload = |file: &&Found| {
            let extension = Path::new(&file.name).extension().unwrap_or_default();
            file.place == Place::Top && extension.eq_ignore_ascii_case(wanted)
        };
        let mut payloads = entry.files.iter().filter(is_payload);
        let (Some(payload), None) = (payloads.next(), payloads.next()) else {
            return Err(Miss::Unreadable(problem::no_payload(wanted)));
        };
        let files: Vec<Found> = entry.files.iter().filter(|file| *file != payload).cloned().collect();
        if !files.is_empty() && !self.format.intake.takes_files() {
            return Err(Miss::Unreadable(problem::takes_no_files()));
        }
        let ticket = Ticket { name: hex(name), marke: self.marker(), stand };
        let ticket = serde_json::to_vec(&ticket).map_err(|error| Miss::Later(system(&error.into())))?;
        let payload = payload.clone();
        let reading = Reading { entry: Arc::new(entry), ours: Arc::default(), marker: self.marker() };
        let last = files.len();
        let body = reading.stream(payload, last == 0);
        let files = files.into_iter().enumerate().map(|(n, file)| FileStream {
            representation: file.place == Place::Rendering,
            name: file.name.to_string_lossy().into_owned(),
            content_type: media_type_of(Path::new(&file.name)).to_owned(),
            content: reading.stream(file, n + 1 == last),
        });
        let (content_type, body) = self.format.intake.pack_stream(body, files.collect());
        let head = http::Request::post("/").header(http::header::CONTENT_TYPE, content_type).body(());
        let (head, ()) = head.map_err(|error| Miss::Later(system(&io::Error::other(error))))?.into_parts();
        let request = IntakeRequest {
            tenant: self.place.tenant.clone(),
            head,
            body,
            settings: self.format.settings.clone(),
            base_url: "http://localhost".to_owned(),
        };
        let deadline = self.plan.deadline.and_then(|time: Duration| self.now().checked_add(time).ok());
        let order = SettlementOrder { source: self.place.name.clone(), ticket: ticket.into(), deadline };
        let taken = self.format.intake.take(request, Arc::new(Settled { inbox, order })).await;
        taken.map_err(|refusal| reading.miss(refusal))
    }

    /// Moves what cannot be read out of the way, with a word why. What cannot be moved is tried again, seldom.
    async fn put_aside(&mut self, handle: &Arc<OwnedFd>, name: &OsString, problem: Diagnostic) {
        (self.place.tell)(Seen::Refused);
        tracing::error!(
            tenant = %self.place.tenant, source = self.place.name, %problem,
            "An application cannot be read and is put aside."
        );
        let note = note(&problem, self.now());
        let moved = {
            let (handle, name) = (handle.clone(), name.clone());
            let mark = ContentHash::of(format!("{} {}", hex(&name), self.now()).as_bytes()).short();
            spawn_blocking(move || aside(&handle, &name, &mark, &note)).await
        };
        let failed = match moved {
            Ok(Ok(()) | Err(Trouble::Gone)) => return,
            Ok(Err(Trouble::System(error))) => error,
            Ok(Err(Trouble::Fault(_))) => io::ErrorKind::ResourceBusy.into(),
            Err(error) => error.into(),
        };
        let problem = system(&failed);
        tracing::error!(tenant = %self.place.tenant, source = self.place.name, %problem, "Not put aside.");
        (self.place.tell)(Seen::Failed);
        self.memory.failed(name, self.now());
    }
}

fn not_final(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    NOT_FINAL.iter().any(|ending| extension.eq_ignore_ascii_case(ending))
}

/// An application that is being read.
struct Reading {
    entry: Arc<Entry>,
    /// The stream broke off for a reason of the folder, not of the format.
    ours: Arc<AtomicBool>,
    marker: Option<String>,
}

impl Reading {
    /// A file of it, opened when it is asked for, and exactly as long as it was seen to be. After the `last` one the
    /// whole is compared with what was seen at first, before anybody is told that the request is complete.
    fn stream(&self, file: Found, last: bool) -> BodyStream {
        let size = file.size;
        let entry = self.entry.clone();
        let opened = async move {
            let opened = spawn_blocking(move || entry.open(&file)).await??;
            Ok::<_, io::Error>(ReaderStream::with_capacity(tokio::fs::File::from_std(opened), CHUNK))
        };
        let mut left = size;
        let content = stream::once(opened).try_flatten().map(move |piece| {
            let piece: Bytes = piece?;
            left = left.checked_sub(piece.len() as u64).ok_or_else(changed)?;
            Ok(piece)
        });
        let (entry, marker) = (self.entry.clone(), self.marker.clone());
        let check = async move {
            if !last {
                return None;
            }
            let again = spawn_blocking(move || {
                let now = entry.again(marker.as_deref()).map_err(|_| changed())?;
                if now.state() == entry.state() { Ok(()) } else { Err(changed()) }
            });
            again.await.unwrap_or_else(|error| Err(error.into())).err().map(Err)
        };
        let ours = self.ours.clone();
        let whole = content.chain(stream::once(check).filter_map(std::future::ready));
        Box::pin(whole.inspect(move |piece| {
            if piece.is_err() {
                ours.store(true, Ordering::Relaxed);
            }
        }))
    }

    fn miss(&self, refusal: Refusal) -> Miss {
        if self.ours.load(Ordering::Relaxed) {
            return Miss::Later(problem::changed_meanwhile());
        }
        let first = refusal.problems.into_iter().next();
        let problem = first.unwrap_or_else(|| system(&io::ErrorKind::Other.into()));
        match refusal.kind {
            RefusalKind::Busy => Miss::Closed,
            RefusalKind::Technical => Miss::Later(problem),
            RefusalKind::BadPayload
            | RefusalKind::TooLarge
            | RefusalKind::NotFound
            | RefusalKind::Unauthorised => Miss::Unreadable(problem),
        }
    }
}

fn changed() -> io::Error {
    io::ErrorKind::ResourceBusy.into()
}

/// Moves an entry to the faulty ones and lays the note beside it.
fn aside(handle: &OwnedFd, name: &OsStr, mark: &str, note: &str) -> Result<(), Trouble> {
    let faulty = walk::open_own(handle, FAULTY).map_err(Trouble::System)?;
    let moved = walk::rename(handle, name, &faulty, mark)?;
    let hidden = format!("{HIDDEN}notiz-{mark}");
    walk::write(&faulty, hidden.as_ref(), note.as_bytes())?;
    let mut beside = moved;
    beside.push(".FEHLER.txt");
    match walk::rename_to(&faulty, hidden.as_ref(), &faulty, &beside) {
        // Too long a name, or a note that lies there from before.
        Err(Trouble::System(_)) => {
            let beside = format!("{mark}.FEHLER.txt");
            walk::rename_to(&faulty, hidden.as_ref(), &faulty, beside.as_ref())
        }
        done => done,
    }
}

/// What whoever looks after the folder reads; nothing of it comes from the application.
fn note(problem: &Diagnostic, now: Zeitpunkt) -> String {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    let at = now.to_zoned(zone).strftime("%d.%m.%Y um %H:%M:%S Uhr");
    let hint = problem.hint.as_deref().map(|hint| format!("{hint}\n\n")).unwrap_or_default();
    format!(
        "Dieser Antrag konnte am {at} nicht übernommen werden.\n\n{} ({})\n\n{hint}Er ist nicht gespeichert und geht \
         nirgendwohin. Ist der Fehler behoben, den Antrag aus dem Ordner „{FAULTY}“ in den Ordner darüber \
         zurücklegen; diese Textdatei kann gelöscht werden. Was der Code bedeutet, sagt „kop explain {}“.\n",
        problem.de, problem.code, problem.code
    )
}
