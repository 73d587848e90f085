// SPDX-License-Identifier: EUPL-1.2
//! Stored payloads: a file as a vendor sends it, with the folders `anlagen/` and `representation/` beside it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use kop_connector_api::{Adapter, HttpIntake, Inbox, IntakeRequest, Normalised, PayloadFile, media_type_of};
use kop_core::{Diagnostic, TenantId};

use crate::preview::Preview;

/// Largest payload file.
const MAX_PAYLOAD: u64 = 512 << 20;
/// Most files beside it.
const MAX_FILES: usize = 500;

/// The vendors that the binary knows.
#[derive(Clone)]
pub struct Doors {
    /// Their intakes.
    pub intakes: Vec<Arc<dyn HttpIntake>>,
    /// Their adapters.
    pub adapters: Vec<Arc<dyn Adapter>>,
}

impl Doors {
    /// The intake for a payload file: by its source, else by the file's extension.
    ///
    /// # Errors
    /// No intake reads such a file.
    pub fn intake_for(&self, file: &Path, source: Option<&str>) -> Result<&Arc<dyn HttpIntake>, Diagnostic> {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let fits = |intake: &&Arc<dyn HttpIntake>| match source {
            Some(source) => intake.source() == source,
            None => intake.payload_extension().eq_ignore_ascii_case(extension),
        };
        self.intakes.iter().find(fits).ok_or_else(|| {
            let known: Vec<_> = self.intakes.iter().map(|intake| intake.source()).collect();
            Diagnostic::new(
                "KOP-F004",
                "Zu dieser Datei passt keine Eingangsart.",
                "No intake reads such a file.",
            )
            .with_hint(format!("Mit --quelle angeben; möglich sind: {}", known.join(", ")))
        })
    }
}

/// The request that the vendor would send for a payload file and the folders beside it.
///
/// # Errors
/// A file cannot be read or is too large.
pub fn request(intake: &dyn HttpIntake, tenant: &TenantId, file: &Path) -> Result<IntakeRequest, Diagnostic> {
    let payload = read(file)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for (name, representation) in [("representation", true), ("anlagen", false)] {
        for path in listed(&folder.join(name)) {
            files.push(PayloadFile {
                representation,
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                content_type: media_type_of(&path).to_owned(),
                content: read(&path)?,
            });
        }
    }
    let (content_type, body) = intake.pack(payload, &files);
    let head = http::Request::post("/").header(http::header::CONTENT_TYPE, content_type).body(());
    let (head, ()) = head.map_err(|error| unreadable(file, &error.to_string()))?.into_parts();
    // In pieces, as it would arrive.
    let pieces: Vec<_> = (0..body.len())
        .step_by(64 << 10)
        .map(|at| Ok(body.slice(at..body.len().min(at + (64 << 10)))))
        .collect();
    Ok(IntakeRequest {
        tenant: tenant.clone(),
        head,
        body: Box::pin(futures_util::stream::iter(pieces)),
        // Without credentials: whoever can read the file needs none.
        settings: Arc::new(serde_json::json!({})),
        base_url: "http://localhost".to_owned(),
    })
}

/// Reads a payload file as its vendor's intake and adapter would, storing nothing.
///
/// # Errors
/// Whatever the intake or the adapter would refuse.
pub async fn read_payload(
    doors: &Doors,
    tenant: &TenantId,
    file: &Path,
    source: Option<&str>,
) -> Result<(&'static str, Normalised), Vec<Diagnostic>> {
    let intake = doors.intake_for(file, source).map_err(|problem| vec![problem])?;
    let preview = Arc::new(Preview::default());
    let request = request(&**intake, tenant, file).map_err(|problem| vec![problem])?;
    let answer = intake.handle(request, preview.clone() as Arc<dyn Inbox>).await;
    let Some(taken) = preview.take() else {
        let said = String::from_utf8_lossy(answer.body()).chars().take(500).collect::<String>();
        return Err(vec![
            Diagnostic::new(
                "KOP-F019",
                "Der Antrag kann nicht gelesen werden.",
                "The payload cannot be read.",
            )
            .with_detail(said),
        ]);
    };
    let adapter = doors.adapters.iter().find(|adapter| adapter.source() == intake.source());
    let adapter = adapter.ok_or_else(|| vec![unreadable(file, "no adapter")])?;
    Ok((intake.source(), adapter.normalise(&taken)?))
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).take(MAX_FILES).collect();
    paths.sort();
    paths
}

fn read(file: &Path) -> Result<Bytes, Diagnostic> {
    let size = fs::metadata(file).map_err(|error| unreadable(file, &error.to_string()))?.len();
    if size > MAX_PAYLOAD {
        return Err(unreadable(file, "too large"));
    }
    fs::read(file).map(Bytes::from).map_err(|error| unreadable(file, &error.to_string()))
}

pub(crate) fn unreadable(file: &Path, reason: &str) -> Diagnostic {
    Diagnostic::new(
        "KOP-F019",
        format!("Die Datei {} kann nicht gelesen werden.", file.display()),
        format!("The file {} cannot be read.", file.display()),
    )
    .with_detail(reason)
}
