// SPDX-License-Identifier: EUPL-1.2
//! `kop serve`: takes submissions in over HTTP, processes and delivers them, until it is stopped.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use kop_connector_api::Mailbox;
use kop_core::{Diagnostic, diagnostic::Lang};
use kop_flow::{HousekeepingOptions, Worker, WorkerOptions, keep_house, run_sources, sources::Closed};
use kop_mail::{Security, SmtpMailbox};
use kop_server::{Gate, Operation, alarm::Alarms};
use kop_store::ProcessRole;
use kop_tenant::MailTls;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{Role, data::Data, instance::Instance, problems, traces::Tracing};

impl Role {
    fn of_process(self) -> ProcessRole {
        match self {
            Self::Alles => ProcessRole::All,
            Self::Eingang => ProcessRole::Intake,
            Self::Arbeit => ProcessRole::Worker,
        }
    }
}

/// Serves an instance. Broken tenants are told and left out; the others go on.
pub(crate) fn run(
    folder: &Path,
    address: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    role: Role,
    lang: Lang,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    let instance = match Instance::load(folder) {
        Ok(instance) => instance,
        Err(found) => return problems::print(&found, lang, false, out),
    };
    for (name, found) in &instance.broken {
        tracing::error!(tenant = name, problems = found.len(), "Tenant left out; see kop check.");
        problems::print(found, lang, false, out)?;
    }
    if let Some(warning) = instance.unscanned() {
        problems::print(&[warning], lang, false, out)?;
    }
    if instance.scanner.is_none() {
        tracing::warn!("No virus scanner is set up; files leave unscanned.");
    }
    let mailbox = match mailbox(&instance) {
        Ok(mailbox) => mailbox,
        Err(problem) => return problems::print(&[problem], lang, false, out),
    };
    let mut traces = match Tracing::of(&instance) {
        Ok(traces) => traces,
        Err(problem) => return problems::print(&[problem], lang, false, out),
    };
    let address = address.unwrap_or(instance.config.address);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = CancellationToken::new();
    let opened = runtime.block_on(async {
        let data = Data::serve(&instance.config, instance.keys.clone(), role.of_process()).await?;
        let engine = instance.engine(&data, traces.sink.clone());
        data.wake(&instance.config, &engine, role != Role::Eingang, &stop)?;
        Ok::<_, Vec<Diagnostic>>((data, engine))
    });
    let (data, engine) = match opened {
        Ok(opened) => opened,
        Err(found) => return problems::print(&found, lang, false, out),
    };
    runtime.block_on(async move {
        let sending = traces.start();
        let gate = Gate::new(instance.config.pressure, instance.config.data_dir.clone());
        let listener = TcpListener::bind(address).await?;
        let (mut end, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stopping = stop.clone();
        tokio::spawn(async move {
            tokio::select! { _ = end.recv() => {} _ = hang_up.recv() => {} }
            tracing::info!("Stopping; what is under way is finished first.");
            stopping.cancel();
        });
        let mut again = signal(SignalKind::hangup())?;
        let instance = Arc::new(instance);
        let reloading = instance.clone();
        tokio::spawn(async move {
            while again.recv().await.is_some() {
                let instance = reloading.clone();
                // Compiling scripts takes its time and is nobody else's.
                let Ok(broken) = tokio::task::spawn_blocking(move || instance.reload()).await else {
                    continue;
                };
                for (name, found) in &broken {
                    let codes: Vec<_> = found.iter().map(|problem| problem.code.as_str()).collect();
                    tracing::error!(tenant = name, codes = codes.join(" "), "Not reloaded; see kop check.");
                }
                tracing::info!(tenants = reloading.tenants.all().len(), broken = broken.len(), "Reloaded.");
            }
        });
        tracing::info!(address = %listener.local_addr()?, tenants = engine.tenants().all().len(), "Serving.");
        gate.look(&engine).await;
        tokio::spawn(gate.clone().watch(engine.clone(), stop.clone()));
        let operation = Operation::new(engine.clone(), gate.clone());
        let admin = serve_operators(&instance, admin, operation.clone(), stop.clone()).await?;
        if let (Some(mailbox), Some(alarm)) = (mailbox, instance.config.alarm.clone()) {
            let watch = Alarms::new(operation, mailbox, alarm, &instance.config.data_dir);
            tokio::spawn(watch.run(stop.clone()));
        }
        let worker = (role != Role::Eingang)
            .then(|| tokio::spawn(Worker::new(engine.clone(), WorkerOptions::default()).run(stop.clone())));
        // Whoever works tidies up too.
        let house = (role != Role::Eingang)
            .then(|| tokio::spawn(keep_house(engine.clone(), HousekeepingOptions::default(), stop.clone())));
        // Whoever takes in also fetches.
        let sources = (role != Role::Arbeit).then(|| {
            let door = gate.clone();
            let closed: Closed = Arc::new(move || door.refusal());
            tokio::spawn(run_sources(engine.clone(), instance.doors.intakes.clone(), closed, stop.clone()))
        });
        // A worker answers for its health, but takes nothing in.
        let intakes = if role == Role::Arbeit { Vec::new() } else { instance.doors.intakes.clone() };
        let served = kop_server::serve(engine, intakes, gate, listener, stop.clone()).await;
        stop.cancel();
        if let Some(sources) = sources {
            sources.await.map_err(io::Error::other)?;
        }
        if let Some(worker) = worker {
            worker.await.map_err(io::Error::other)?;
        }
        if let Some(house) = house {
            house.await.map_err(io::Error::other)?;
        }
        if let Some(admin) = admin {
            admin.await.map_err(io::Error::other)??;
        }
        data.leave().await;
        sending.finish().await;
        served
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where operators ask when nothing else is configured.
const USUAL_ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

/// Opens the operators' address. One that was asked for has to be free; the usual one may be taken by another
/// instance on this machine, and then this one goes without.
async fn serve_operators(
    instance: &Instance,
    wanted: Option<SocketAddr>,
    operation: Arc<Operation>,
    stop: CancellationToken,
) -> io::Result<Option<tokio::task::JoinHandle<io::Result<()>>>> {
    let wanted = wanted.or(instance.config.admin);
    let listener = match TcpListener::bind(wanted.unwrap_or(USUAL_ADMIN)).await {
        Ok(listener) => listener,
        Err(error) if wanted.is_none() => {
            tracing::warn!(%error, address = %USUAL_ADMIN, "No address for /readyz and /metrics; see [server] verwaltung.");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    tracing::info!(address = %listener.local_addr()?, "Serving operators.");
    Ok(Some(tokio::spawn(kop_server::operation::serve(operation, listener, stop))))
}

/// The operators' mailbox, where one is configured.
fn mailbox(instance: &Instance) -> Result<Option<Arc<dyn Mailbox>>, Diagnostic> {
    let Some(alarm) = &instance.config.alarm else { return Ok(None) };
    let password = alarm.passwort.as_ref().map(kop_connector_api::Secret::resolve).transpose();
    let password = password.map_err(|error| {
        Diagnostic::new(
            "KOP-S009",
            "Das Passwort des Mailservers ist nicht lesbar.",
            "The mail server's password cannot be read.",
        )
        .with_detail(error.to_string())
    })?;
    let login = alarm.benutzer.clone().zip(password);
    let security = match alarm.tls {
        MailTls::Starttls => Security::Starttls,
        MailTls::Tls => Security::Tls,
        MailTls::Keine => Security::None,
    };
    let mailbox = SmtpMailbox::new(&alarm.server, security, login, &alarm.von, &alarm.an)?;
    Ok(Some(Arc::new(mailbox)))
}
