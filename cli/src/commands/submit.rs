// SPDX-License-Identifier: EUPL-1.2
//! `kop submit`: takes a payload file the way of an HTTP request, without HTTP. Beside a running server the
//! submission is stored and the server does the rest; else it is processed and delivered here.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use kop_connector_api::{Accepted, BlobSink, Inbox, Intake, Refusal};
use kop_core::{Diagnostic, TenantId, diagnostic::Lang};
use kop_flow::{Engine, Reception, deliver, process};
use kop_store::DeliveryState;

use crate::{
    commands::messages::{self, Showing},
    data::Data,
    instance::Instance,
    problems,
    traces::Tracing,
};

/// What to submit.
pub(crate) struct Submission<'a> {
    pub(crate) tenant: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    pub(crate) file: &'a Path,
}

/// Submits a file and shows what became of it. Exit code 1 when it was refused or needs a person.
pub(crate) fn run(
    folder: &Path,
    submission: &Submission<'_>,
    lang: Lang,
    json: bool,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let instance = match Instance::load(folder) {
        Ok(instance) => instance,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let tenant = match choose_tenant(&instance, submission.tenant) {
        Ok(tenant) => tenant,
        Err(found) => return problems::print(&found, lang, json, out),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (data, alone) = match Data::hand_in(&instance.config, instance.keys.clone()).await {
            Ok(opened) => opened,
            Err(found) => return problems::print(&found, lang, json, out),
        };
        let mut traces = Tracing::of_command(&instance);
        let engine = instance.engine(&data, traces.sink.clone());
        let sending = traces.start();
        let accepted = match hand_in(&instance, &engine, &tenant, submission).await {
            Ok(accepted) => accepted,
            Err(found) => return problems::print(&found, lang, json, out),
        };
        if alone {
            carry_out(&engine, &tenant, &accepted).await;
        }
        data.leave().await;
        let id = accepted.submission_id.to_string();
        let showing = Showing { tenant: Some(&tenant), reveal: false, lang, json };
        let shown = messages::show(&**engine.store(), &id, &showing, engine.now(), out).await?;
        let detail = engine.store().submission(&tenant, accepted.submission_id).await;
        sending.finish().await;
        let open = detail.is_ok_and(|detail| detail.work_items.iter().any(|item| item.closed_at.is_none()));
        Ok(if open { ExitCode::FAILURE } else { shown })
    })
}

fn choose_tenant(instance: &Instance, wanted: Option<&str>) -> Result<TenantId, Vec<Diagnostic>> {
    let all = instance.tenants.all();
    let chosen = match wanted {
        Some(name) => all.iter().find(|generation| generation.tenant.as_str() == name),
        None if all.len() == 1 => all.first(),
        None => None,
    };
    let Some(generation) = chosen else {
        if let Some((_, found)) = instance.broken.iter().find(|(name, _)| Some(name.as_str()) == wanted) {
            return Err(found.clone());
        }
        let names: Vec<_> = all.iter().map(|generation| generation.tenant.to_string()).collect();
        return Err(vec![
            Diagnostic::new(
                "KOP-F007",
                "Der Mandant ist nicht angegeben oder nicht geladen.",
                "The tenant is not given or not loaded.",
            )
            .with_hint(format!("Mit --mandant angeben; vorhanden: {}", names.join(", "))),
        ]);
    };
    Ok(generation.tenant.clone())
}

async fn hand_in(
    instance: &Instance,
    engine: &Arc<Engine>,
    tenant: &TenantId,
    submission: &Submission<'_>,
) -> Result<Accepted, Vec<Diagnostic>> {
    let intake =
        instance.doors.intake_for(submission.file, submission.source).map_err(|problem| vec![problem])?;
    let request = kop_workshop::payload::request(&**intake, tenant, submission.file)
        .map_err(|problem| vec![problem])?;
    let desk = Arc::new(Desk { reception: Reception(engine.clone()), outcome: Mutex::default() });
    let answer = intake.handle(request, desk.clone() as Arc<dyn Inbox>).await;
    let outcome = desk.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
    match outcome {
        Some(Ok(accepted)) => Ok(accepted),
        Some(Err(refusal)) => Err(refusal.problems),
        // The intake refused before it came to the inbox; its answer says why.
        None => Err(vec![
            Diagnostic::new(
                "KOP-F019",
                "Der Antrag kann nicht gelesen werden.",
                "The payload cannot be read.",
            )
            .with_detail(String::from_utf8_lossy(answer.body()).chars().take(500).collect::<String>()),
        ]),
    }
}

/// Processes the submission and makes one attempt for each of its deliveries.
async fn carry_out(engine: &Engine, tenant: &TenantId, accepted: &Accepted) {
    let only = Some((tenant.clone(), accepted.submission_id));
    let Ok(claimed) = process::claim(engine, 1, only).await else { return };
    for submission in claimed {
        for start in process::process(engine, submission).await {
            deliver::send(engine, start).await;
        }
    }
    // What its lane had no room for at once.
    let Ok(detail) = engine.store().submission(tenant, accepted.submission_id).await else { return };
    for delivery in
        detail.deliveries.iter().filter(|one| one.state == DeliveryState::Wartend && one.attempts == 0)
    {
        for claimed in deliver::claim(engine, 1, Some((tenant.clone(), delivery.delivery_id))).await {
            deliver::attempt(engine, claimed).await;
        }
    }
}

/// The reception, with an ear for what it answered: the intake keeps that to its vendor's format.
struct Desk {
    reception: Reception,
    outcome: Mutex<Option<Result<Accepted, Refusal>>>,
}

#[async_trait]
impl Inbox for Desk {
    async fn blob(&self, tenant: &TenantId) -> Result<Box<dyn BlobSink>, Refusal> {
        self.reception.blob(tenant).await
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, Refusal> {
        let outcome = self.reception.accept(intake).await;
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.clone());
        outcome
    }
}
