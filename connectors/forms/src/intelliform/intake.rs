// SPDX-License-Identifier: EUPL-1.2
//! The address `deposit`: a WSDL for GET, submissions for POST.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use kop_connector_api::{
    Accepted, BodyStream, FileStream, HttpIntake, Inbox, Intake, IntakeRequest, IntakeResponse, PayloadFile,
    Refusal, RefusalKind, SettingProblem, parse_settings,
};
use kop_core::Clock;

use super::{
    SOURCE,
    auth::Nonces,
    config::{self, Settings},
    envelope::{self, Deposit, MAX_ATTACHMENTS},
    receive::{Login, Receiver, check_charset},
    soap, wsdl,
};
use crate::{
    credentials::{Basic, Credentials},
    media_type::MediaType,
    problem,
    upload::Metered,
    xml,
};

/// `POST /{tenant}/deposit` and `GET /{tenant}/deposit?wsdl`.
pub struct IntelliformIntake {
    clock: Arc<dyn Clock>,
    nonces: Nonces,
}

impl IntelliformIntake {
    /// The intake. It remembers the nonces of logins, so there should be one in a process.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, nonces: Nonces::default() }
    }

    async fn receive(&self, request: IntakeRequest, inbox: &dyn Inbox) -> Result<Accepted, Refused> {
        let settings: Settings =
            parse_settings(&request.settings).map_err(|problem| problem::not_set_up(problem.en))?;
        let credentials = Credentials::resolve(settings.benutzer.as_deref(), settings.passwort.as_ref())?;
        let headers = &request.head.headers;
        let mut login = None;
        if let Some(credentials) = &credentials {
            match credentials.basic(headers) {
                Basic::Right => {}
                Basic::Wrong => {
                    return Err(Refused { refusal: problem::credentials_wrong(), challenge: true });
                }
                Basic::Absent => {
                    login = Some(Login { credentials, nonces: &self.nonces, now: self.clock.now() });
                }
            }
        }
        let media = MediaType::of(headers);
        let (body, meter) = Metered::new(request.body, u64::from(settings.max_groesse_mb) * 1_000_000);
        let mut receiver = Receiver::new(inbox, &request.tenant, login);
        match media.essence.as_str() {
            "text/xml" | "application/xml" => {
                check_charset(&media)?;
                receiver.plain(body, &meter).await?;
            }
            "multipart/related" => receiver.related(body, &meter, &media).await?,
            "application/soap+xml" => return Err(problem::soap_not_understood(true).into()),
            _ => return Err(problem::wrong_media_type("text/xml oder multipart/related").into()),
        }
        let (skeleton, files) = receiver.finish()?;
        let envelope = xml::read(&skeleton).map_err(envelope::refusal)?;
        let mut deposit = envelope::deposit_of(envelope)?;
        let mut parts = envelope::link_files(&mut deposit, files)?;
        let read = Deposit::read(&deposit).ok_or_else(|| problem::too_many_parts(MAX_ATTACHMENTS))?;
        let primary = read.value("primaryDataAttachmentId");
        for part in &mut parts {
            let mut attachments =
                read.attachments.iter().filter(|attachment| attachment.part.as_deref() == Some(&part.key));
            if !attachments.any(|attachment| attachment.may_be_data(primary)) {
                part.inline = None;
            }
        }
        let envelope = xml::write(&deposit).into();
        let tenant = request.tenant.clone();
        let transport = BTreeMap::new();
        let intake = Intake { tenant, source: SOURCE, envelope, parts, transport, settlement: None };
        Ok(inbox.accept(intake).await?)
    }
}

/// A refusal and whether it asks for HTTP Basic.
struct Refused {
    refusal: Refusal,
    challenge: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        // KOP-E007: no credentials at all, so the sender is told how to bring some.
        let missing = refusal.problems.first().is_some_and(|problem| problem.code == "KOP-E007");
        Self { challenge: missing && refusal.kind == RefusalKind::Unauthorised, refusal }
    }
}

#[async_trait]
impl HttpIntake for IntelliformIntake {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn address(&self) -> &'static str {
        "deposit"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Settings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        config::check(settings)
    }

    fn payload_extension(&self) -> &'static str {
        "xml"
    }

    fn pack(&self, payload: Bytes, _: &[PayloadFile]) -> (String, Bytes) {
        ("text/xml; charset=utf-8".to_owned(), payload)
    }

    fn takes_files(&self) -> bool {
        false
    }

    fn pack_stream(&self, payload: BodyStream, _: Vec<FileStream>) -> (String, BodyStream) {
        ("text/xml; charset=utf-8".to_owned(), payload)
    }

    async fn take(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> Result<Accepted, Refusal> {
        self.receive(request, &*inbox).await.map_err(|refused| refused.refusal)
    }

    async fn handle(&self, request: IntakeRequest, inbox: Arc<dyn Inbox>) -> IntakeResponse {
        if request.head.method == Method::GET {
            let query = request.head.uri.query().unwrap_or_default().to_ascii_lowercase();
            if query == "wsdl" || query.starts_with("wsdl&") || query.starts_with("wsdl=") {
                let address = format!(
                    "{}/{}/{}",
                    request.base_url.trim_end_matches('/'),
                    request.tenant,
                    self.address()
                );
                let login = request.settings.get("benutzer").is_some();
                return soap::xml(StatusCode::OK, wsdl::wsdl(&address, login));
            }
            return soap::plain(
                StatusCode::NOT_FOUND,
                "Diese Adresse nimmt SOAP-Nachrichten per POST an. Die Beschreibung liefert ?wsdl.\n",
            );
        }
        if request.head.method != Method::POST {
            return soap::plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "Diese Adresse nimmt SOAP-Nachrichten per POST an.\n",
            );
        }
        match self.receive(request, &*inbox).await {
            Ok(_) => soap::deposited(),
            Err(refused) => soap::refused(&refused.refusal, self.clock.now(), refused.challenge),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> IntakeResponse {
        soap::refused(refusal, self.clock.now(), false)
    }
}
