// SPDX-License-Identifier: EUPL-1.2
//! Wake-ups over the database itself (`LISTEN`, `NOTIFY`), on a connection of their own: inside a step they would make
//! all commits of the server wait for each other. They carry nothing, may be lost, and many at once become one.

use std::{future::poll_fn, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_postgres::{AsyncMessage, Client, Connection, config::SslMode};

use super::{PostgresStore, pool::Connector};
use crate::error::StoreError;

/// Between two notifications.
const SPACING: Duration = Duration::from_millis(5);
/// First and longest pause before the next try to connect.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is done when somebody was heard.
type Heard = Arc<dyn Fn() + Send + Sync>;

/// Tells and hears other processes; ends with its value.
pub struct Notifications {
    tell: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Notifications {
    /// Tells the others. Never waits; while the database is away nobody hears it.
    pub fn tell(&self) {
        self.tell.notify_one();
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PostgresStore {
    /// Begins to hear others, calling `heard` for each, and to tell them.
    pub fn notifications(&self, heard: impl Fn() + Send + Sync + 'static) -> Notifications {
        let tell = Arc::new(Notify::new());
        let task = tokio::spawn(run(self.connector.clone(), Arc::new(heard), tell.clone()));
        Notifications { tell, task }
    }
}

async fn run(connector: Connector, heard: Heard, tell: Arc<Notify>) {
    let mut pause = PAUSE.0;
    loop {
        match connector.listen(&heard).await {
            Ok((client, mut ended)) => {
                pause = PAUSE.0;
                // What happened while nobody listened.
                heard();
                loop {
                    tokio::select! {
                        _ = ended.recv() => break,
                        () = tell.notified() => {}
                    }
                    if client.batch_execute("NOTIFY kop_wake").await.is_err() {
                        break;
                    }
                    tokio::time::sleep(SPACING).await;
                }
            }
            Err(error) => tracing::debug!(%error, "No wake-ups over the database at present."),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

impl Connector {
    /// A connection that listens, and the sign that it ended.
    async fn listen(&self, heard: &Heard) -> Result<(Client, mpsc::Receiver<()>), StoreError> {
        let (client, ended) = if self.config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = self.config.connect(tokio_postgres::NoTls).await?;
            (client, hear(connection, heard.clone()))
        } else {
            let (client, connection) = self.config.connect(self.tls.clone()).await?;
            (client, hear(connection, heard.clone()))
        };
        client.batch_execute("LISTEN kop_wake").await?;
        Ok((client, ended))
    }
}

/// Drives a connection; the receiver is closed when it ends.
fn hear<S, T>(mut connection: Connection<S, T>, heard: Heard) -> mpsc::Receiver<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (alive, ended) = mpsc::channel(1);
    tokio::spawn(async move {
        let _alive = alive;
        loop {
            let mut next = pin!(poll_fn(|cx| connection.poll_message(cx)));
            match next.as_mut().await {
                Some(Ok(AsyncMessage::Notification(_))) => heard(),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    ended
}
