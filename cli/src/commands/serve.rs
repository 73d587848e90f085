// SPDX-License-Identifier: EUPL-1.2
//! `kop serve`: takes submissions in over HTTP, processes and delivers them, until it is stopped.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use kop_core::diagnostic::Lang;
use kop_flow::{HousekeepingOptions, Worker, WorkerOptions, keep_house};
use kop_store::DataFolder;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

use crate::{instance::Instance, problems};

/// Serves an instance. Broken tenants are told and left out; the others go on.
pub(crate) fn run(
    folder: &Path,
    address: Option<SocketAddr>,
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
    let data = match DataFolder::serve(&instance.config.data_dir, instance.keys.clone()) {
        Ok(data) => data,
        Err(error) => return problems::print(&[error.diagnostic()], lang, false, out),
    };
    let engine = instance.engine(data);
    let address = address.unwrap_or(instance.config.address);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        let stop = CancellationToken::new();
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
        let worker = tokio::spawn(Worker::new(engine.clone(), WorkerOptions::default()).run(stop.clone()));
        let house = tokio::spawn(keep_house(engine.clone(), HousekeepingOptions::default(), stop.clone()));
        let served = kop_server::serve(engine, instance.doors.intakes.clone(), listener, stop.clone()).await;
        stop.cancel();
        worker.await.map_err(io::Error::other)?;
        house.await.map_err(io::Error::other)?;
        served
    })?;
    Ok(ExitCode::SUCCESS)
}
