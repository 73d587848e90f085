// SPDX-License-Identifier: EUPL-1.2
//! Over RabbitMQ: one quorum queue that all workers read from, so that each wake-up goes to one of them and the work
//! spreads. Messages are empty, are confirmed by the broker, come back when no queue takes them (`mandatory`), and
//! expire: what is older than a worker's own look wakes nobody. A connection that broke is made anew, with pauses.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use kop_flow::{Bell, Wakes};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
    uri::{AMQPScheme, AMQPUri},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The queue, in the broker's virtual host that the address names.
const QUEUE: &str = "kop.wecken";
/// Older wake-ups wake nobody. Milliseconds.
const EXPIRES: i32 = 10_000;
/// More than so many are not kept, neither here nor there.
const WAITING: usize = 1024;
/// Wake-ups whose confirmation is still to come.
const UNCONFIRMED: usize = 64;
/// Nothing at the broker takes longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// First and longest pause before the next try to connect.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// The broker's address cannot be used. It holds a password, so it is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RabbitError {
    /// It is no `amqp://` address.
    Address,
    /// It asks for TLS, which this version does not speak to a broker; it is never left out silently.
    Encrypted,
}

struct OverRabbit(mpsc::Sender<()>);

impl Wakes for OverRabbit {
    fn tell(&self) {
        // Full: enough are on their way.
        let _ = self.0.try_send(());
    }
}

/// Connects a bell with those of other processes, until `stop`. `hears`: this process works and wants to be woken.
/// The broker need not be there yet.
///
/// # Errors
/// The address cannot be used.
pub fn over_rabbit(
    address: &str,
    hears: bool,
    bell: &Arc<Bell>,
    stop: CancellationToken,
) -> Result<(), RabbitError> {
    let address: AMQPUri = address.parse().map_err(|_| RabbitError::Address)?;
    if address.scheme == AMQPScheme::AMQPS {
        return Err(RabbitError::Encrypted);
    }
    let (tell, told) = mpsc::channel(WAITING);
    let wire = Wire { address, bell: hears.then(|| bell.clone()), told };
    tokio::spawn(wire.run(stop));
    bell.connect(Arc::new(OverRabbit(tell)));
    Ok(())
}

struct Wire {
    address: AMQPUri,
    bell: Option<Arc<Bell>>,
    told: mpsc::Receiver<()>,
}

impl Wire {
    async fn run(mut self, stop: CancellationToken) {
        let mut pause = PAUSE.0;
        let mut said = false;
        loop {
            let lost = tokio::select! {
                () = stop.cancelled() => return,
                lost = self.connected(&mut pause, &mut said) => lost,
            };
            if !said {
                tracing::warn!(error = %lost, "No wake-ups over RabbitMQ; workers look by themselves until it is back.");
                said = true;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Carries wake-ups until something fails; gives what.
    async fn connected(&mut self, pause: &mut Duration, said: &mut bool) -> String {
        match self.carry(pause, said).await {
            Ok(()) => "the connection was closed".to_owned(),
            Err(error) => error,
        }
    }

    async fn carry(&mut self, pause: &mut Duration, said: &mut bool) -> Result<(), String> {
        let options = ConnectionProperties::default().with_connection_name("kop".into());
        let connection = in_time(Connection::connect_uri(self.address.clone(), options)).await?;
        let channel = in_time(connection.create_channel()).await?;
        prepare(&channel).await?;
        let mut heard = match self.bell {
            Some(_) => Some(consume(&channel).await?),
            None => None,
        };
        *pause = PAUSE.0;
        if *said {
            tracing::info!("Wake-ups over RabbitMQ again.");
            *said = false;
        }
        // What came while nobody heard it.
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        let mut confirming = FuturesUnordered::new();
        loop {
            tokio::select! {
                told = self.told.recv(), if confirming.len() < UNCONFIRMED => {
                    if told.is_none() {
                        return Ok(());
                    }
                    confirming.push(in_time(publish(&channel)));
                }
                Some(confirmed) = confirming.next() => match confirmed? {
                    // An acknowledgement that brings the message back: no queue took it.
                    Confirmation::Ack(None) => {}
                    _ => return Err("the broker did not take a wake-up".to_owned()),
                },
                delivery = next(&mut heard) => {
                    let delivery = delivery.ok_or("the broker ended the consumer")?.map_err(|e| e.to_string())?;
                    if let Some(bell) = &self.bell {
                        bell.ring();
                    }
                    in_time(delivery.ack(BasicAckOptions::default())).await?;
                }
            }
        }
    }
}

async fn next(heard: &mut Option<Consumer>) -> Option<lapin::Result<lapin::message::Delivery>> {
    match heard {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// The queue, and confirmations for what is published.
async fn prepare(channel: &Channel) -> Result<(), String> {
    let mut arguments = FieldTable::default();
    for (key, value) in [
        ("x-queue-type", AMQPValue::LongString("quorum".into())),
        ("x-message-ttl", AMQPValue::LongInt(EXPIRES)),
        ("x-max-length", AMQPValue::LongInt(i32::try_from(WAITING).unwrap_or(i32::MAX))),
        ("x-overflow", AMQPValue::LongString("drop-head".into())),
    ] {
        arguments.insert(key.into(), value);
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    in_time(channel.queue_declare(QUEUE.into(), options, arguments)).await?;
    in_time(channel.confirm_select(ConfirmSelectOptions::default())).await
}

async fn consume(channel: &Channel) -> Result<Consumer, String> {
    // One at a time, so that a burst spreads over the workers.
    in_time(channel.basic_qos(1, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    in_time(channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())).await
}

async fn publish(channel: &Channel) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    channel.basic_publish("".into(), QUEUE.into(), options, &[], properties).await?.await
}

async fn in_time<T>(call: impl Future<Output = lapin::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the broker does not answer".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_refused_rather_than_weakened() {
        let bell = Arc::new(Bell::default());
        let stop = CancellationToken::new();
        let try_with = |address: &str| over_rabbit(address, true, &bell, stop.clone());
        assert_eq!(try_with("amqps://kop:geheim@mq.example/%2f"), Err(RabbitError::Encrypted));
        assert_eq!(try_with("http://mq.example"), Err(RabbitError::Address));
        // Nobody is there: the bell rings here all the same, and nobody waits.
        assert_eq!(try_with("amqp://kop:geheim@127.0.0.1:1/%2f"), Ok(()));
        for _ in 0..5000 {
            bell.ring_everywhere();
        }
        stop.cancel();
    }
}
