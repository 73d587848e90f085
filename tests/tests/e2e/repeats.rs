// SPDX-License-Identifier: EUPL-1.2
//! The same application twice: one Vorgang, one answer; another content under the same id: both kept, and told.

use kop_tests::{Error, Instance};

use crate::send_bauantrag;

#[tokio::test]
async fn one_application_is_one_vorgang_however_often_it_is_sent() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    let first = send_bauantrag(&server, str::to_owned).await?;
    let second = send_bauantrag(&server, str::to_owned).await?;
    assert_eq!(first, second);
    assert_eq!(instance.settled(1).await?.len(), 1);

    // Another content under the same id: stored as well, and somebody has to look at it.
    let third = send_bauantrag(&server, |form| form.replace("Mareike", "Maren")).await?;
    assert_ne!(first["vorgang"]["vorgangId"], third["vorgang"]["vorgangId"]);
    let rows = instance.settled(2).await?;
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let shown =
        instance.kop(&["messages", "show", rows[0]["vorgangsnummer"].as_str().unwrap_or_default()])?;
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("KOP-F001"), "{shown}");
    // Sending the third once more changes nothing either.
    let again = send_bauantrag(&server, |form| form.replace("Mareike", "Maren")).await?;
    assert_eq!(third, again);
    Ok(())
}

#[tokio::test]
async fn without_an_id_the_content_tells_repeats() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    let nameless =
        |form: &str| form.replace("\"transactionId\": \"c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521\",", "");
    let first = send_bauantrag(&server, nameless).await?;
    let second = send_bauantrag(&server, nameless).await?;
    assert_eq!(first, second);
    let other = send_bauantrag(&server, |form| nameless(form).replace("Mareike", "Maren")).await?;
    assert_ne!(first["vorgang"]["vorgangId"], other["vorgang"]["vorgangId"]);
    let rows = instance.settled(2).await?;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    Ok(())
}
