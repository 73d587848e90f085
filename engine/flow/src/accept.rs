// SPDX-License-Identifier: EUPL-1.2
//! The door: an intake's payload is normalised and stored in one durable step. Only then is anyone answered.

use std::sync::Arc;

use async_trait::async_trait;
use kop_connector_api::{Accepted, BlobSink, Inbox, Intake, IntakePart, Normalised, Refusal, RefusalKind};
use kop_core::{
    ContentHash, Diagnostic, Eingang, SubmissionId, TenantId, VorgangId, WorkItemId,
    eingang::{ABLAGEFORMAT_VERSION, Kopf},
};
use kop_store::{Assigned, NewSubmission, NewWorkItem, PayloadPart};

use crate::{
    blobs::{Sink, refusal},
    engine::Engine,
    settle, trace,
};

/// The engine as intakes see it.
pub struct Reception(pub Arc<Engine>);

#[async_trait]
impl Inbox for Reception {
    async fn blob(&self, tenant: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        let writer = self.0.parts.blobs.writer(tenant);
        Ok(Box::new(Sink(writer)))
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        let engine = &self.0;
        let (begun, since) = (std::time::Instant::now(), trace::begin(engine));
        let bad = |problems| Refusal { kind: RefusalKind::BadPayload, problems };
        let adapter = engine.adapter(intake.source).ok_or_else(|| {
            Refusal::new(
                RefusalKind::NotFound,
                Diagnostic::new("KOP-F004", "Diese Eingangsart gibt es nicht.", "There is no such intake."),
            )
        })?;
        let normalised = adapter.normalise(&intake).map_err(bad)?;
        let (tenant, source) = (intake.tenant.clone(), intake.source);
        let (new, vendor_id) = self.submission(intake, normalised).await?;
        let made = new.submission_id;
        let stored = engine.parts.store.accept(new, engine.now()).await.map_err(|error| refusal(&error))?;
        engine.wake.ring_everywhere();
        engine.metrics.accept.observe(begun.elapsed());
        trace::accepted(engine, since, (&tenant, source, made), &stored);
        tracing::info!(
            %tenant, submission = %stored.submission_id, vorgang = %stored.vorgangsnummer, repeated = stored.repeated,
            "Submission stored."
        );
        Ok(Accepted {
            submission_id: stored.submission_id,
            vorgang_id: stored.vorgang_id,
            vorgangsnummer: stored.vorgangsnummer,
            vendor_id,
            received_at: stored.received_at,
            repeated: stored.repeated,
        })
    }
}

impl Reception {
    async fn submission(
        &self,
        intake: Intake,
        normalised: Normalised,
    ) -> Result<(NewSubmission, Option<String>), Refusal> {
        let engine = &self.0;
        let content_hash = content_hash(&intake);
        let envelope = engine
            .parts
            .blobs
            .put(&intake.tenant, intake.envelope.clone())
            .await
            .map_err(|error| refusal(&error))?;
        let mut payload =
            vec![PayloadPart { key: "envelope".into(), file_name: None, content_type: None, blob: envelope }];
        payload.extend(intake.parts.iter().map(|part| PayloadPart {
            key: part.key.clone(),
            file_name: part.file_name.clone(),
            content_type: part.content_type.clone(),
            blob: part.blob,
        }));
        let ids = &engine.parts.ids;
        let submission_id = SubmissionId(ids.next());
        let vorgang_id = VorgangId(ids.next());
        let vendor_id = normalised.vendor_id.clone().filter(|id| !id.trim().is_empty());
        let remarks = normalised
            .remarks
            .iter()
            .map(|problem| NewWorkItem::new(WorkItemId(ids.next()), vec![problem.clone()]))
            .collect();
        let conflict = NewWorkItem::new(
            WorkItemId(ids.next()),
            vec![
                Diagnostic::new(
                    "KOP-F001",
                    "Unter derselben Kennung kam schon ein Antrag mit anderem Inhalt an; beide sind gespeichert.",
                    "A submission with the same id and other content came before; both are stored.",
                )
                .with_hint("Beide Vorgänge vergleichen und klären, welcher gilt."),
            ],
        );
        let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
        let source = intake.source;
        let tenant = intake.tenant.clone();
        let settlement = match intake.settlement {
            None => None,
            Some(order) => {
                // The number is given out with the commit; no route asks for it.
                let assigned = Assigned { vorgangsnummer: String::new(), received_at: engine.now() };
                let normalised = normalised.clone();
                let read = document(tenant.clone(), submission_id, vorgang_id, source, normalised, &assigned);
                Some(settle::settlement(engine, &tenant, order, read).await?)
            }
        };
        let new = NewSubmission {
            tenant: tenant.clone(),
            submission_id,
            vorgang_id,
            source: source.to_owned(),
            idem_key: vendor_id.clone().unwrap_or_else(|| content_hash.to_string()),
            content_hash,
            vendor_id: vendor_id.clone(),
            form_id: normalised.form_id.clone(),
            form_name: normalised.form_name.clone(),
            number_prefix: number_prefix(&tenant),
            number_year: engine.now().to_zoned(zone).year(),
            payload,
            remarks,
            conflict,
            events: Vec::new(),
            settlement,
            document: Box::new(move |assigned| {
                let eingang = document(tenant, submission_id, vorgang_id, source, normalised, assigned);
                serde_json::to_vec(&eingang).map_err(|error| error.to_string())
            }),
        };
        Ok((new, vendor_id))
    }
}

/// The payload's identity: envelope and files in their order, with the names under which they came. Content-IDs
/// are made anew at each try, so they are not part of it.
fn content_hash(intake: &Intake) -> ContentHash {
    let envelope = intake.transport.get("envelope_sha256").and_then(|hash| hash.parse().ok());
    let envelope = envelope.unwrap_or_else(|| ContentHash::of(&intake.envelope));
    let file = |part: &IntakePart| (part.file_name.clone().unwrap_or_default(), part.blob.sha256);
    let files: Vec<_> = intake.parts.iter().map(file).collect();
    ContentHash::of_parts(
        std::iter::once(("", &envelope.as_bytes()[..]))
            .chain(files.iter().map(|(name, hash)| (name.as_str(), &hash.as_bytes()[..]))),
    )
}

/// The first letters of the tenant's name, so that a Vorgangsnummer tells where it belongs.
fn number_prefix(tenant: &TenantId) -> String {
    let letters: String = tenant.as_str().chars().filter(char::is_ascii_alphanumeric).take(4).collect();
    letters.to_uppercase()
}

fn document(
    mandant: TenantId,
    eingang_id: SubmissionId,
    vorgang_id: VorgangId,
    source: &str,
    normalised: Normalised,
    assigned: &Assigned,
) -> Eingang {
    Eingang {
        version: ABLAGEFORMAT_VERSION,
        kopf: Kopf {
            mandant,
            eingang_id,
            vorgang_id,
            vorgangsnummer: assigned.vorgangsnummer.clone(),
            eingangszeitpunkt: assigned.received_at,
            quelle: source.to_owned(),
            hersteller_id: normalised.vendor_id,
            formular_id: normalised.form_id,
            formular_name: normalised.form_name,
            formular_version: normalised.form_version,
            gesendet: normalised.sent,
            leistungsschluessel: normalised.services,
            zusatz: normalised.extra,
        },
        antragsteller: normalised.applicant,
        vertretene_person: normalised.represented,
        zustaendige_stelle: normalised.authority,
        service_konto: normalised.account,
        zahlung: normalised.payment,
        einwilligungen: normalised.consents,
        form_data: normalised.fields,
        anlagen: normalised.attachments,
        repraesentationen: normalised.representations,
    }
}

/// The internal document of a payload that is not stored (`kop map run`, `kop map test`).
pub fn preview(
    tenant: &TenantId,
    source: &str,
    normalised: Normalised,
    number: &str,
    at: kop_core::Zeitpunkt,
) -> Eingang {
    let id = |what: &str| kop_core::ids::stable_uuid(&[tenant.as_str(), what, number]);
    document(
        tenant.clone(),
        SubmissionId(id("eingang")),
        VorgangId(id("vorgang")),
        source,
        normalised,
        &Assigned { vorgangsnummer: number.to_owned(), received_at: at },
    )
}
