// SPDX-License-Identifier: EUPL-1.2
//! Takes a form-data request apart while it arrives: `formData` into bounded memory, every file straight into
//! the blob store.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use kop_connector_api::{
    Accepted, BodyStream, FileStream, HttpIntake, Inbox, Intake, IntakePart, IntakeRequest, IntakeResponse,
    PayloadFile, Refusal, RefusalKind, SettingProblem, parse_settings,
};
use multer::{Field, Multipart};

use super::{
    SOURCE, answer, config,
    config::Settings,
    form_data,
    pack::{PackedFile, pack, pack_stream},
};
use crate::{
    credentials::{Basic, Credentials},
    media_type::MediaType,
    problem,
    upload::{FileWriter, InlineBudget, Meter, Metered},
};

/// Most files of one submission.
const MAX_FILES: usize = 1_000;

/// `POST /{tenant}/antrag`.
#[derive(Debug, Default)]
pub struct OzgCloudIntake;

impl OzgCloudIntake {
    /// The intake; it holds no state.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl HttpIntake for OzgCloudIntake {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn address(&self) -> &'static str {
        "antrag"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Settings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        config::check(settings)
    }

    fn payload_extension(&self) -> &'static str {
        "json"
    }

    fn pack(&self, payload: Bytes, files: &[PayloadFile]) -> (String, Bytes) {
        let files: Vec<_> = files.iter().map(PackedFile::from).collect();
        let (content_type, body) = pack(&payload, &files);
        (content_type, body.into())
    }

    fn takes_files(&self) -> bool {
        true
    }

    fn pack_stream(&self, payload: BodyStream, files: Vec<FileStream>) -> (String, BodyStream) {
        pack_stream(payload, files)
    }

    async fn take(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> Result<Accepted, Refusal> {
        receive(request, &*inbox).await
    }

    async fn handle(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> IntakeResponse {
        if request.head.method != http::Method::POST {
            return answer::refused(&problem::wrong_method(), StatusCode::METHOD_NOT_ALLOWED);
        }
        match receive(request, &*inbox).await {
            Ok(accepted) => answer::accepted(&accepted),
            Err(refusal) => self.refuse(&refusal),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> IntakeResponse {
        if let Some(problem) = refusal.problems.first() {
            tracing::info!(source = SOURCE, %problem, "submission refused");
        }
        answer::refused(refusal, refusal.kind.status())
    }
}

async fn receive(request: IntakeRequest, inbox: &dyn Inbox) -> Result<Accepted, Refusal> {
    let settings: Settings =
        parse_settings(&request.settings).map_err(|problem| problem::not_set_up(problem.en))?;
    authenticate(&settings, &request)?;
    let media = MediaType::of(&request.head.headers);
    let boundary = match (media.essence.as_str(), media.boundary()) {
        ("multipart/form-data", Some(boundary)) => boundary.to_owned(),
        _ => return Err(problem::wrong_media_type("multipart/form-data mit boundary")),
    };
    let (body, meter) = Metered::new(request.body, u64::from(settings.max_groesse_mb) * 1_000_000);
    let mut multipart = Multipart::new(body, boundary);
    let broken = |meter: &Meter| meter.refusal(problem::malformed_multipart);

    let mut envelope = None;
    let mut parts = Vec::new();
    while let Some(mut field) = multipart.next_field().await.map_err(|_| broken(&meter))? {
        meter.progressed();
        if field.name() == Some("formData") {
            if envelope.is_some() {
                return Err(problem::form_data_twice());
            }
            let limit = settings.max_formulardaten_mb as usize * 1_000_000;
            let bytes = collect(&mut field, &meter, limit).await?;
            // A document that no adapter could read is refused before its files fill the disk.
            form_data::read(&bytes)?;
            envelope = Some(bytes);
        } else {
            if parts.len() >= MAX_FILES {
                return Err(problem::too_many_parts(MAX_FILES));
            }
            parts.push(store(field, &meter, inbox, &request.tenant).await?);
        }
    }
    let envelope = envelope.ok_or_else(problem::form_data_missing)?;
    inbox
        .accept(Intake {
            tenant: request.tenant,
            source: SOURCE,
            envelope,
            parts,
            transport: BTreeMap::new(),
            settlement: None,
        })
        .await
}

fn authenticate(settings: &Settings, request: &IntakeRequest) -> Result<(), Refusal> {
    let Some(credentials) = Credentials::resolve(settings.benutzer.as_deref(), settings.passwort.as_ref())?
    else {
        return Ok(());
    };
    match credentials.basic(&request.head.headers) {
        Basic::Right => Ok(()),
        Basic::Wrong => Err(problem::credentials_wrong()),
        Basic::Absent => Err(problem::credentials_missing()),
    }
}

async fn collect(field: &mut Field<'_>, meter: &Meter, limit: usize) -> Result<Bytes, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| meter.refusal(problem::malformed_multipart))? {
        meter.progressed();
        if bytes.len() + chunk.len() > limit {
            return Err(Refusal::new(RefusalKind::TooLarge, problem::data_beyond_limits()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

async fn store(
    mut field: Field<'_>,
    meter: &Meter,
    inbox: &dyn Inbox,
    tenant: &kop_core::TenantId,
) -> Result<IntakePart, Refusal> {
    let key = field.name().unwrap_or("attachment").to_owned();
    let file_name = field.file_name().map(str::to_owned);
    let content_type = field
        .headers()
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut file = FileWriter::open(inbox, tenant, false).await?;
    let mut budget = InlineBudget::new();
    while let Some(chunk) = field.chunk().await.map_err(|_| meter.refusal(problem::malformed_multipart))? {
        meter.progressed();
        file.write(chunk, &mut budget).await?;
    }
    let (blob, inline) = file.finish().await?;
    Ok(IntakePart { key, file_name, content_type, blob, inline })
}
