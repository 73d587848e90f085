// SPDX-License-Identifier: EUPL-1.2
//! `kop messages remap`: a new mapping run for messages that exist. Shows what would differ; sends only when told so,
//! with a reason, as a message of its own that names the one it replaces.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, ValueEnum};
use kop_core::{BlobRef, ContentHash, Diagnostic, diagnostic::Lang, mask::mask, settle::source_of_lane};
use kop_flow::{
    ComposedPart, Engine, PartContent,
    remap::{Act, Remade, Version, remake, send_instead},
};
use kop_store::{
    AccessEntry, AttemptOutcome, DeliveryState, Found, FoundId, MessageRecord, MessageState, SubmissionDetail,
};
use kop_workshop::difference::{Change, changes};

use super::{one, person, pick, say_who};
use crate::{data::Data, instance::Instance, problems, traces::Tracing};

/// Differences of one message that are shown as text.
const SHOWN: usize = 500;
/// Largest stored document that is compared.
const LARGEST: u64 = 64 << 20;

/// What to map again, and how.
#[derive(Args)]
pub(crate) struct RemapArgs {
    /// Nummer der Sendung oder der Zustellung; bei einem Eingang (Nummer, Vorgangsnummer) alle seine Sendungen
    nummer: String,
    /// Womit: dieselbe Version wie damals, die aktuelle, oder ein Entwurf; sonst wird gefragt
    #[arg(long, value_enum)]
    version: Option<Which>,
    /// Mit --version entwurf: Ordner der Zuordnung
    #[arg(long, value_name = "PFAD", required_if_eq("version", "entwurf"))]
    entwurf: Option<PathBuf>,
    /// Werte unverdeckt zeigen; das wird mit dem Namen der Person protokolliert
    #[arg(long)]
    klartext: bool,
    /// Die neue Sendung anstelle der alten zustellen
    #[arg(long, requires = "grund")]
    senden: bool,
    /// Warum; steht im Verlauf
    #[arg(long)]
    grund: Option<String>,
    /// Auch wenn die alte Sendung zugestellt ist oder angekommen sein kann, oder sich nichts unterscheidet
    #[arg(long)]
    trotzdem: bool,
}

/// Which state of the mapping.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Die Zuordnung, die Parameter und das Schema-Paket von damals
    Dieselbe,
    /// Was heute in der Konfiguration steht
    Aktuelle,
    /// Ein Ordner, der noch nicht in Betrieb ist
    Entwurf,
}

/// Runs the command. Exit code 1 when something cannot be mapped or sent, 2 when there is nothing to do it with.
pub(super) async fn run(
    args: &RemapArgs,
    folder: &Path,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let Some(which) = args.version.map_or_else(|| ask(lang), |given| Ok(Some(given)))? else {
        let sentence = pick(
            lang,
            "Mit --version angeben, womit abgebildet wird: dieselbe, aktuelle oder entwurf.",
            "Say with --version what to map with: dieselbe, aktuelle or entwurf.",
        );
        writeln!(io::stderr(), "{sentence}")?;
        return Ok(ExitCode::from(2));
    };
    let instance = match Instance::load(folder) {
        Ok(instance) => instance,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let data = match Data::attach(&instance.config, instance.keys.clone()).await {
        Ok(Some(data)) => data,
        Ok(None) => {
            let nothing = kop_store::StoreError::NotFound.diagnostic();
            return problems::print(&[nothing], lang, json, out);
        }
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let mut traces = Tracing::of_command(&instance);
    let engine = instance.engine(&data, traces.sink.clone());
    let sending = traces.start();
    let Some(found) = one(&**engine.store(), None, &args.nummer, lang).await? else {
        return Ok(ExitCode::from(2));
    };
    if args.klartext {
        let entry = AccessEntry {
            tenant: found.tenant.clone(),
            who: person(),
            what: "remap-klartext".into(),
            submission_id: Some(found.submission_id),
        };
        // Without the entry nothing is shown.
        if let Err(error) = engine.store().log_access(entry, engine.now()).await {
            return problems::print(&[error.diagnostic()], lang, json, out);
        }
    }
    let detail = match engine.store().submission(&found.tenant, found.submission_id).await {
        Ok(detail) => detail,
        Err(error) => return problems::print(&[error.diagnostic()], lang, json, out),
    };
    let messages = meant(&found, &detail);
    if messages.is_empty() {
        let sentence = pick(
            lang,
            "Hier gibt es keine Sendung. Was noch keine hat, verarbeitet „kop messages retry“ mit der aktuellen Version.",
            "There is no message here. What has none yet is processed by `kop messages retry` with the current version.",
        );
        writeln!(io::stderr(), "{sentence}")?;
        return Ok(ExitCode::from(2));
    }
    let mut task = Task { args, which, instance: &instance, engine: &engine, detail: &detail, lang, json };
    let mut rows = Vec::new();
    let mut exit = ExitCode::SUCCESS;
    let mut sent = false;
    for message in messages {
        match task.one(message, out).await? {
            Ok(row) => {
                sent |= !row["gesendet"].is_null();
                if row["nicht"].is_string() {
                    exit = ExitCode::FAILURE;
                }
                rows.push(row);
            }
            Err(found) if json => {
                exit = ExitCode::FAILURE;
                rows.push(serde_json::json!({ "sendung": message.message_id, "probleme": found }));
            }
            Err(found) => exit = problems::print(&found, lang, false, out)?,
        }
    }
    if json {
        writeln!(out, "{:#}", serde_json::Value::Array(rows))?;
    } else if sent {
        drop(engine);
        say_who(data.somebody_works(&instance.config).await, lang, out)?;
    }
    sending.finish().await;
    Ok(exit)
}

/// Asks the person at the terminal; `None` when there is none.
fn ask(lang: Lang) -> io::Result<Option<Which>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let question = pick(
        lang,
        "Womit abbilden? [d]ieselbe Version wie damals, [a]ktuelle, [e]ntwurf: ",
        "Map with what? [d]ieselbe: the version of then, [a]ktuelle: the current one, [e]ntwurf: a candidate: ",
    );
    write!(io::stderr(), "{question}")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(match answer.trim().chars().next() {
        Some('d') => Some(Which::Dieselbe),
        Some('a') => Some(Which::Aktuelle),
        Some('e') => Some(Which::Entwurf),
        _ => None,
    })
}

/// The messages that a number stands for; of a submission those that no other one replaced, and
/// none that settles its source.
fn meant<'a>(found: &Found, detail: &'a SubmissionDetail) -> Vec<&'a MessageRecord> {
    let replaced =
        |message: &MessageRecord| detail.messages.iter().any(|one| one.ersetzt == Some(message.message_id));
    let messages = detail.messages.iter();
    match found.id {
        FoundId::Message(id) => messages.filter(|message| message.message_id == id).collect(),
        FoundId::Delivery(id) => {
            let of = detail.deliveries.iter().find(|delivery| delivery.delivery_id == id);
            messages.filter(|message| of.is_some_and(|of| of.message_id == message.message_id)).collect()
        }
        FoundId::Submission(_) => {
            let of_mappings = messages.filter(|one| source_of_lane(&one.receiver).is_none());
            of_mappings.filter(|one| one.state != MessageState::Ersetzt && !replaced(one)).collect()
        }
    }
}

struct Task<'a> {
    args: &'a RemapArgs,
    which: Which,
    instance: &'a Instance,
    engine: &'a Arc<Engine>,
    detail: &'a SubmissionDetail,
    lang: Lang,
    json: bool,
}

impl Task<'_> {
    /// Maps one message again, shows it, and sends it where that is wanted and possible.
    async fn one(
        &mut self,
        message: &MessageRecord,
        out: &mut impl Write,
    ) -> io::Result<Result<serde_json::Value, Vec<Diagnostic>>> {
        let version = match self.version(message) {
            Ok(version) => version,
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let remade = match remake(self.engine, self.detail, message, version).await {
            Ok(remade) => remade,
            Err(found) => return Ok(Err(found)),
        };
        let stored = self.engine.blobs().read(&message.tenant, &message.main.blob, LARGEST).await;
        let compared = stored
            .map_err(|error| error.diagnostic())
            .and_then(|stored| changes(&message.main.content_type, &stored, &remade.composed.bytes));
        let (differences, files) = match compared {
            Ok(differences) => (differences, file_changes(message, &remade.composed.parts)),
            Err(problem) => return Ok(Err(vec![problem])),
        };
        let same = differences.is_empty() && files.is_empty();
        let mapping = (remade.mapping().name.clone(), remade.mapping().hash);
        if !self.json {
            self.show(message, mapping.1, &differences, &files, out)?;
        }
        let refusal = if self.args.senden { self.refusal(message, same) } else { None };
        let mut sent = None;
        if self.args.senden && refusal.is_none() {
            match self.send(message, remade).await {
                Ok(id) => sent = Some(id),
                Err(found) => return Ok(Err(found)),
            }
        }
        if !self.json {
            if let Some(why) = &refusal {
                writeln!(out, "  {}: {why}", pick(self.lang, "Nicht gesendet", "Not sent"))?;
            }
            if let Some(id) = sent {
                let said = pick(self.lang, "Neue Sendung an ihrer Stelle", "New message in its place");
                writeln!(out, "  {said}: {id}")?;
            }
        }
        let value = |value: &Option<String>| value.as_deref().map(|value| self.shown(value));
        let rows: Vec<_> = differences
            .iter()
            .map(|one| serde_json::json!({ "pfad": one.at, "gespeichert": value(&one.before), "neu": value(&one.after) }))
            .collect();
        Ok(Ok(serde_json::json!({
            "sendung": message.message_id, "empfaenger": message.receiver, "zustand": message.state,
            "zuordnung": mapping.0, "zuordnungHash": mapping.1, "zuordnungHashDamals": message.mapping_hash,
            "gleich": same, "unterschiede": rows, "dateien": files, "gesendet": sent, "nicht": refusal,
        })))
    }

    fn version(&self, message: &MessageRecord) -> Result<Version, Diagnostic> {
        let Some(folder) = self.args.entwurf.clone().filter(|_| self.which == Which::Entwurf) else {
            return match self.which {
                Which::Dieselbe => Ok(Version::Same),
                Which::Aktuelle => Ok(Version::Current),
                Which::Entwurf => Err(Diagnostic::new(
                    "KOP-K001",
                    "Für einen Entwurf fehlt sein Ordner.",
                    "A candidate needs its folder.",
                )
                .with_hint("Mit --entwurf PFAD angeben.")),
            };
        };
        Ok(Version::Candidate {
            folder: folder.canonicalize().unwrap_or(folder),
            tenant_dir: self.instance.config.tenants_dir.join(message.tenant.as_str()),
            library: self.instance.config.library_dir.clone(),
        })
    }

    /// Why a message is not sent in place of this one. The store decides again, in the step itself.
    fn refusal(&self, message: &MessageRecord, same: bool) -> Option<String> {
        let lang = self.lang;
        let say = |de: &'static str, en: &'static str| Some(pick(lang, de, en).to_owned());
        let delivery = self.detail.deliveries.iter().find(|one| one.message_id == message.message_id)?;
        if let Some(by) = self.detail.messages.iter().find(|one| one.ersetzt == Some(message.message_id)) {
            return Some(format!(
                "{} {}",
                pick(lang, "schon ersetzt durch", "replaced already by"),
                by.message_id
            ));
        }
        match delivery.state {
            DeliveryState::Laufend => return say("sie ist gerade unterwegs.", "it is under way."),
            DeliveryState::Nachverfolgt => {
                return say(
                    "sie ist übergeben; was daraus wird, ist noch offen.",
                    "it was handed over; what becomes of it is still open.",
                );
            }
            _ => {}
        }
        if self.args.trotzdem {
            return None;
        }
        if same {
            return say(
                "nichts unterscheidet sich. Dieselben Bytes noch einmal sendet „kop messages retry“; --trotzdem sendet sie als neue Sendung.",
                "nothing differs. `kop messages retry` sends the same bytes again; --trotzdem sends them as a new message.",
            );
        }
        if delivery.state == DeliveryState::Zugestellt {
            return say(
                "die alte Sendung ist zugestellt, der Empfänger bekäme beide. Wenn das so sein soll: --trotzdem.",
                "the earlier message was delivered, so the receiver would get both. If that is what you want: --trotzdem.",
            );
        }
        let unclear = self.detail.attempts.iter().any(|attempt| {
            attempt.delivery_id == delivery.delivery_id && attempt.outcome == Some(AttemptOutcome::Unklar)
        });
        if unclear {
            return say(
                "niemand weiß, ob die alte Sendung ankam. Erst beim Empfänger fragen; dann --trotzdem.",
                "nobody knows whether the earlier message arrived. Ask the receiver first; then --trotzdem.",
            );
        }
        None
    }

    async fn send(
        &self,
        message: &MessageRecord,
        remade: Remade,
    ) -> Result<kop_core::MessageId, Vec<Diagnostic>> {
        let act = Act {
            who: person(),
            reason: self.args.grund.clone().unwrap_or_default(),
            despite: self.args.trotzdem,
        };
        send_instead(self.engine, message, remade, act).await
    }

    fn shown(&self, value: &str) -> String {
        if self.args.klartext { value.to_owned() } else { mask(value) }
    }

    fn show(
        &self,
        message: &MessageRecord,
        hash: ContentHash,
        differences: &[Change],
        files: &[String],
        out: &mut impl Write,
    ) -> io::Result<()> {
        let lang = self.lang;
        let what = pick(lang, "Sendung", "Message");
        writeln!(
            out,
            "{what} {} → {} ({}), {} {} → {}",
            &message.message_id.to_string()[..13],
            message.receiver,
            message.state,
            message.mapping,
            message.mapping_hash.short(),
            hash.short()
        )?;
        if message.engine_version != kop_flow::ENGINE_VERSION {
            let other = pick(lang, "Erzeugt mit KOP engine", "Made with KOP engine");
            writeln!(out, "  {other} {}", message.engine_version)?;
        }
        if differences.is_empty() && files.is_empty() {
            writeln!(out, "  {}", pick(lang, "Kein Unterschied.", "No difference."))?;
        }
        for one in differences.iter().take(SHOWN) {
            match (&one.before, &one.after) {
                (Some(before), Some(after)) => {
                    writeln!(out, "  ~ {}: {} → {}", one.at, self.shown(before), self.shown(after))?;
                }
                (Some(before), None) => writeln!(out, "  - {}: {}", one.at, self.shown(before))?,
                (None, after) => {
                    writeln!(out, "  + {}: {}", one.at, self.shown(after.as_deref().unwrap_or_default()))?;
                }
            }
        }
        if differences.len() > SHOWN {
            writeln!(out, "  … +{}", differences.len() - SHOWN)?;
        }
        for file in files {
            writeln!(out, "  {file}")?;
        }
        Ok(())
    }
}

/// Files beside the main document that came, went or changed: `+ lageplan.pdf`.
fn file_changes(message: &MessageRecord, made: &[ComposedPart]) -> Vec<String> {
    let content = |part: &ComposedPart| match &part.content {
        PartContent::Blob(blob) => *blob,
        PartContent::Bytes(bytes) => BlobRef { sha256: ContentHash::of(bytes), size: bytes.len() as u64 },
    };
    let mut found = Vec::new();
    for part in &message.parts {
        match made.iter().find(|one| one.name == part.name) {
            None => found.push(format!("- {}", part.name)),
            Some(one) if content(one) != part.blob => found.push(format!("~ {}", part.name)),
            Some(_) => {}
        }
    }
    let new = made.iter().filter(|one| message.parts.iter().all(|part| part.name != one.name));
    found.extend(new.map(|one| format!("+ {}", one.name)));
    found
}
