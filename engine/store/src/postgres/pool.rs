// SPDX-License-Identifier: EUPL-1.2
//! A few connections, each with its prepared statements, lent for one step at a time. A connection that broke is
//! thrown away and the next step makes a new one; a step that was not committed is undone. This module must not
//! know what a step does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::{Client, Config, Row, Statement, config::SslMode, types::ToSql};

use super::tls::{self, Rustls};
use crate::error::StoreError;

/// Connections of one process. PostgreSQL commits those that wait together, so more of them is more per second,
/// up to what its disk does.
const CONNECTIONS: usize = 16;

/// A step that waits longer for a connection is told [`StoreError::Busy`].
const PATIENCE: Duration = Duration::from_secs(10);

/// For every session: a COMMIT answers when it is on disk; nothing waits or hangs for ever.
const SESSION: &str = "SET synchronous_commit = on; SET lock_timeout = '10s'; SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning";

/// A statement's values.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) config: Config,
    pub(super) tls: Rustls,
}

impl Connector {
    /// # Errors
    /// The URL cannot be read; the message does not repeat it, since it holds a password.
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        let mut config: Config = url.parse().map_err(|error| {
            StoreError::Database(format!("the database's address cannot be read: {}", why(&error)))
        })?;
        tls::settle(&mut config);
        config.connect_timeout(Duration::from_secs(5)).tcp_user_timeout(Duration::from_secs(20));
        if config.get_application_name().is_none() {
            config.application_name("kop");
        }
        Ok(Self { config, tls: Rustls::new()? })
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<Conn, StoreError> {
        let client = if self.config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self.config.connect(tokio_postgres::NoTls).await?;
            drive(connection);
            client
        } else {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            drive(connection);
            client
        };
        client.batch_execute(SESSION).await?;
        Ok(Conn { client, statements: Mutex::default() })
    }
}

/// Reads and writes for a connection until it ends; whoever uses it learns of a failure by its own call.
fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = why(&error), "A connection to the database ended.");
        }
    });
}

/// What went wrong, without values of rows.
fn why(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.code().code(), db.constraint().or(db.table()).unwrap_or("-"));
    }
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error} {source}").trim_end().to_owned()
}

/// Whether the connection broke or could not be made.
fn broke(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    error.is_closed() || source.is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let busy = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::TOO_MANY_CONNECTIONS,
        ];
        // It stops, comes up again, or ended the sessions of a process that crashed.
        let away = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
        match error.code() {
            Some(&SqlState::DISK_FULL) => Self::Full("database".to_owned()),
            Some(code) if busy.contains(code) => Self::Busy,
            Some(code) if away.contains(code) => Self::Unreachable(why(&error)),
            None if broke(&error) => Self::Unreachable(why(&error)),
            _ => Self::Database(why(&error)),
        }
    }
}

/// One connection.
pub(super) struct Conn {
    client: Client,
    statements: Mutex<HashMap<String, Statement>>,
}

impl Conn {
    async fn prepared(&self, sql: &str) -> Result<Statement, StoreError> {
        let known = self.statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(sql).await?;
        self.statements
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query(&statement, params).await?)
    }

    pub(super) async fn query_opt(&self, sql: &str, params: Params<'_>) -> Result<Option<Row>, StoreError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.query_opt(&statement, params).await?)
    }

    /// The one row.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none.
    pub(super) async fn query_one(&self, sql: &str, params: Params<'_>) -> Result<Row, StoreError> {
        self.query_opt(sql, params).await?.ok_or(StoreError::NotFound)
    }

    /// The number of rows that changed.
    pub(super) async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, StoreError> {
        let statement = self.prepared(sql).await?;
        Ok(self.client.execute(&statement, params).await?)
    }

    /// Several statements without values.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

struct Inner {
    connector: Connector,
    idle: Mutex<Vec<Conn>>,
    permits: Arc<Semaphore>,
}

/// The connections.
#[derive(Clone)]
pub(super) struct Pool(Arc<Inner>);

impl Pool {
    pub(super) fn new(connector: Connector) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        Self(Arc::new(Inner { connector, idle: Mutex::default(), permits }))
    }

    /// A connection for one question.
    pub(super) async fn lend(&self) -> Result<Lent, StoreError> {
        let permit = tokio::time::timeout(PATIENCE, self.0.permits.clone().acquire_owned())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let kept = loop {
            match self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
                Some(conn) if conn.is_closed() => {}
                other => break other,
            }
        };
        let conn = match kept {
            Some(conn) => conn,
            None => self.0.connector.connect().await?,
        };
        Ok(Lent { conn: Some(conn), pool: self.clone(), _permit: permit })
    }

    /// A connection with an open transaction. Dropped without [`Step::end`], everything is undone.
    pub(super) async fn begin(&self) -> Result<Step, StoreError> {
        let lent = self.lend().await?;
        lent.batch("BEGIN").await?;
        Ok(Step(lent))
    }

    /// The same for questions that have to see one state of the data.
    pub(super) async fn look(&self) -> Result<Step, StoreError> {
        let lent = self.lend().await?;
        lent.batch("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Step(lent))
    }
}

/// A lent connection; goes back when it is given back, else it is closed.
pub(super) struct Lent {
    conn: Option<Conn>,
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Lent {
    pub(super) fn give_back(mut self) {
        if let Some(conn) = self.conn.take().filter(|conn| !conn.is_closed()) {
            self.pool.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}

impl std::ops::Deref for Lent {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        // Only taken by `give_back`, which consumes.
        self.conn.as_ref().expect("a connection until it is given back")
    }
}

/// An open transaction.
pub(super) struct Step(Lent);

impl Step {
    /// Commits what succeeded, undoes what did not. The result is there only after the COMMIT.
    pub(super) async fn end<T>(self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.0.batch("COMMIT").await?;
                self.0.give_back();
                Ok(value)
            }
            Err(error) => {
                if self.0.batch("ROLLBACK").await.is_ok() {
                    self.0.give_back();
                }
                Err(error)
            }
        }
    }
}

impl std::ops::Deref for Step {
    type Target = Conn;
    fn deref(&self) -> &Conn {
        &self.0
    }
}
