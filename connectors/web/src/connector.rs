// SPDX-License-Identifier: EUPL-1.2
//! The connector `http`: checks settings, builds the client, and carries out one exchange per attempt.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use kop_connector_api::{Blobs, Connector, ConnectorKind, Expiry, SettingProblem, World};
use kop_core::{Clock, Diagnostic, Outcome, Repeatability, Sendung, Ticket};
use reqwest::{
    Body, Client, RequestBuilder,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::time::{Instant, timeout_at};

use crate::{
    answer::{self, Answer},
    body::{Payload, Progress, StopWhenDropped},
    client, expiry, problem,
    settings::{Form, Plan},
};

/// A probe takes no longer.
const LONGEST_PROBE: Duration = Duration::from_secs(30);

/// The kind `http`: one POST per Sendung.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpKind;

impl ConnectorKind for HttpKind {
    fn name(&self) -> &'static str {
        "http"
    }

    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(crate::settings::HttpSettings)
    }

    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        Plan::read(settings).err().unwrap_or_default()
    }

    fn build(&self, settings: &serde_json::Value, world: &World) -> Result<Arc<dyn Connector>, Diagnostic> {
        let plan = Plan::read(settings).map_err(SettingProblem::refusal)?;
        let certificates = plan.certificates.as_deref().map(|path| world.base_dir.join(path));
        let client = client::builder(&plan.url, plan.connect, certificates.as_deref())?
            // A kept connection may be closed by the receiver at the very moment the next request goes out, and
            // then nobody knows what arrived. Deliveries are rare enough to pay for a new one.
            .pool_max_idle_per_host(0);
        let client = client::build(client)?;
        let expiries = match certificates {
            Some(path) => expiry::of_pem(&client::read_pem(&path)?)
                .map(|at| Expiry { what: "ca_datei".to_owned(), at })
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        let http = Http { plan, client, expiries, blobs: world.blobs.clone(), clock: world.clock.clone() };
        // A missing secret shows now rather than at the first delivery.
        let _ = http.sign(http.client.head(http.plan.url.clone()))?;
        Ok(Arc::new(http))
    }
}

struct Http {
    plan: Plan,
    client: Client,
    blobs: Arc<dyn Blobs>,
    clock: Arc<dyn Clock>,
    expiries: Vec<Expiry>,
}

#[async_trait]
impl Connector for Http {
    fn repeatability(&self) -> Repeatability {
        if self.plan.repeatable { Repeatability::Idempotent } else { Repeatability::Unsafe }
    }

    /// Asks with HEAD, which must change nothing (RFC 9110 section 9.2.1). Any answer shows that someone is
    /// there, also one that HEAD is not allowed; only refused access would stop a delivery too.
    async fn probe(&self) -> Result<(), Diagnostic> {
        let request = self.sign(self.client.head(self.plan.url.clone()))?;
        let limit = self.plan.attempt.min(LONGEST_PROBE);
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) if matches!(response.status().as_u16(), 401 | 403 | 407) => {
                Err(problem::access_refused(response.status()))
            }
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(problem::no_connection(&error)),
            Err(_) => Err(problem::unreachable("time limit reached")),
        }
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.expiries.clone()
    }

    async fn deliver(&self, sendung: &Sendung) -> Outcome {
        let payload = match self.plan.form {
            Form::Multipart => Payload::multipart(sendung),
            Form::Einzeln => match Payload::single(sendung) {
                Ok(payload) => payload,
                Err(problem) => return Outcome::Reject(problem),
            },
        };
        let request = match self.sign(self.client.post(self.plan.url.clone())) {
            Ok(request) => request,
            Err(problem) => return problem::retry(problem),
        };
        let progress = Arc::new(Progress::default());
        let _guard = StopWhenDropped(progress.clone());
        let length = payload.length;
        if length == 0 {
            progress.start();
        }
        let request = request
            .header(&self.plan.key_header, sendung.delivery_id.to_string())
            .header(CONTENT_TYPE, payload.content_type.as_str())
            .header(CONTENT_LENGTH, length)
            .body(Body::wrap_stream(payload.stream(
                sendung.tenant.clone(),
                self.blobs.clone(),
                progress.clone(),
            )));

        let deadline = Instant::now() + self.plan.attempt;
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return answer::broken(&error, &progress),
            Err(_) => return answer::late(&progress),
        };
        let complete = progress.handed() == length;
        let mut answer = Answer::of(&response, &self.plan.reference_header, self.clock.now());
        // The status has been said; a body that breaks or does not end takes nothing back.
        answer.text = timeout_at(deadline, answer::text(response)).await.unwrap_or_default();
        match progress.failure() {
            // The receiver answered to half a request; what is wrong is on our side.
            Some(failure) => problem::retry(failure.clone()),
            None => answer.outcome(complete),
        }
    }

    async fn follow_up(&self, _: &Ticket) -> Outcome {
        Outcome::Unknown(problem::cannot_be_asked())
    }
}

impl Http {
    fn sign(&self, request: RequestBuilder) -> Result<RequestBuilder, Diagnostic> {
        client::sign(request, &self.plan.headers, self.plan.login.as_ref())
    }
}
