// SPDX-License-Identifier: EUPL-1.2
//! What the commands keep data in: SQLite in the data folder, or the PostgreSQL database that `kop.toml` names, with
//! the files in the folder either way.

use std::{path::Path, sync::Arc};

use kop_connector_api::Secret;
use kop_core::Diagnostic;
use kop_flow::Engine;
use kop_store::{BlobStore, DataFolder, PostgresStore, ProcessRole, SealedStore, StoreError};
use kop_tenant::InstanceConfig;
use tokio_util::sync::CancellationToken;

use crate::keys::InstanceKeys;

/// Rows and files of an instance, opened.
#[derive(Clone)]
pub(crate) struct Data {
    pub(crate) store: Arc<SealedStore>,
    pub(crate) blobs: Arc<BlobStore>,
    postgres: Option<Arc<PostgresStore>>,
}

impl Data {
    /// Opens as a process that may process and deliver: with SQLite as the only one.
    pub(crate) async fn serve(
        config: &InstanceConfig,
        keys: Arc<InstanceKeys>,
        role: ProcessRole,
    ) -> Result<Self, Vec<Diagnostic>> {
        let Some(address) = &config.database else {
            if matches!(role, ProcessRole::Intake | ProcessRole::Worker) {
                return Err(vec![role_needs_postgres()]);
            }
            return DataFolder::serve(&config.data_dir, keys).map(Self::of_folder).map_err(told);
        };
        let store =
            PostgresStore::serve(resolved(address, "datenbank")?.expose(), role).await.map_err(told)?;
        Self::of_database(&config.data_dir, store, keys)
    }

    /// Opens beside a process that may be serving: for questions, a person's acts and accepting. `None` when nothing
    /// was ever stored.
    pub(crate) async fn attach(
        config: &InstanceConfig,
        keys: Arc<InstanceKeys>,
    ) -> Result<Option<Self>, Vec<Diagnostic>> {
        let Some(address) = &config.database else {
            return match DataFolder::attach(&config.data_dir, keys) {
                Ok(data) => Ok(Some(Self::of_folder(data))),
                Err(StoreError::NotFound) => Ok(None),
                Err(error) => Err(told(error)),
            };
        };
        let store = PostgresStore::attach(resolved(address, "datenbank")?.expose()).await.map_err(told)?;
        Self::of_database(&config.data_dir, store, keys).map(Some)
    }

    /// Opens for one command that processes what it hands in, unless a service does; whether it has to.
    pub(crate) async fn hand_in(
        config: &InstanceConfig,
        keys: Arc<InstanceKeys>,
    ) -> Result<(Self, bool), Vec<Diagnostic>> {
        if let Some(address) = &config.database {
            let address = resolved(address, "datenbank")?;
            let store = PostgresStore::attach(address.expose()).await.map_err(told)?;
            return if store.somebody_works().await.map_err(told)? {
                Ok((Self::of_database(&config.data_dir, store, keys)?, false))
            } else {
                Ok((Self::serve(config, keys, ProcessRole::Command).await?, true))
            };
        }
        match DataFolder::serve(&config.data_dir, keys.clone()) {
            Ok(data) => Ok((Self::of_folder(data), true)),
            Err(StoreError::InUse(_)) => DataFolder::attach(&config.data_dir, keys)
                .map(|data| (Self::of_folder(data), false))
                .map_err(told),
            Err(error) => Err(told(error)),
        }
    }

    /// Whether a service is there that processes and delivers.
    pub(crate) async fn somebody_works(self, config: &InstanceConfig) -> bool {
        if let Some(postgres) = self.postgres {
            return postgres.somebody_works().await.unwrap_or(false);
        }
        drop(self.store);
        matches!(DataFolder::serve_plain(&config.data_dir), Err(StoreError::InUse(_)))
    }

    /// Lets processes on the same database wake each other: over RabbitMQ when it is configured, else over the
    /// database. `hears`: this process works.
    pub(crate) fn wake(
        &self,
        config: &InstanceConfig,
        engine: &Engine,
        hears: bool,
        stop: &CancellationToken,
    ) -> Result<(), Vec<Diagnostic>> {
        match (&config.broker, &self.postgres) {
            (Some(_), None) => Err(vec![broker_needs_postgres()]),
            (Some(address), Some(_)) => {
                let address = resolved(address, "rabbitmq")?;
                kop_wake::over_rabbit(address.expose(), hears, engine.bell(), stop.clone())
                    .map_err(|error| vec![broker_address(&error)])
            }
            (None, Some(postgres)) => {
                kop_wake::over_postgres(postgres, engine.bell());
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// Leaves in good order; others need not wait.
    pub(crate) async fn leave(&self) {
        if let Some(postgres) = &self.postgres {
            postgres.leave().await;
        }
    }

    /// Of an opened data folder.
    pub(crate) fn of_folder(data: DataFolder) -> Self {
        Self { store: Arc::new(data.store), blobs: Arc::new(data.blobs), postgres: None }
    }

    fn of_database(
        folder: &Path,
        store: PostgresStore,
        keys: Arc<InstanceKeys>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let blobs = Arc::new(DataFolder::files(folder, keys.clone()).map_err(told)?);
        let store = Arc::new(store);
        let sealed = Arc::new(SealedStore::new(store.clone(), keys));
        Ok(Self { store: sealed, blobs, postgres: Some(store) })
    }
}

#[allow(clippy::needless_pass_by_value)] // for `map_err`
fn told(error: StoreError) -> Vec<Diagnostic> {
    vec![error.diagnostic()]
}

fn resolved(
    reference: &Secret,
    setting: &str,
) -> Result<kop_connector_api::secret::Resolved, Vec<Diagnostic>> {
    reference.resolve().map_err(|error| {
        vec![
            Diagnostic::new(
                "KOP-S020",
                format!("Die Adresse für „{setting}“ in kop.toml kann nicht gelesen werden."),
                format!("The address for \"{setting}\" in kop.toml cannot be read."),
            )
            .with_detail(error.to_string()),
        ]
    })
}

fn role_needs_postgres() -> Diagnostic {
    Diagnostic::new(
        "KOP-S021",
        "Mehrere Prozesse können nur über PostgreSQL zusammenarbeiten.",
        "Several processes can work together over PostgreSQL only.",
    )
    .with_hint(
        "In kop.toml unter [daten] datenbank = \"env:KOP_DATENBANK\" eintragen oder --rolle weglassen.",
    )
}

fn broker_needs_postgres() -> Diagnostic {
    Diagnostic::new(
        "KOP-S021",
        "Weckrufe über RabbitMQ gibt es nur zusammen mit PostgreSQL.",
        "Wake-ups over RabbitMQ exist together with PostgreSQL only.",
    )
    .with_hint("In kop.toml [wecker] entfernen oder unter [daten] eine datenbank eintragen.")
}

fn broker_address(error: &kop_wake::RabbitError) -> Diagnostic {
    let (de, en) = match error {
        kop_wake::RabbitError::Address => (
            "Die Adresse von RabbitMQ ist keine amqp://-Adresse.",
            "RabbitMQ's address is no amqp:// address.",
        ),
        kop_wake::RabbitError::Encrypted => (
            "Verschlüsselte Verbindungen zu RabbitMQ (amqps://) kann diese Version nicht.",
            "This version does not speak TLS to RabbitMQ (amqps://).",
        ),
    };
    Diagnostic::new("KOP-S022", de, en)
}
