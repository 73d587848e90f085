// SPDX-License-Identifier: EUPL-1.2
//! Codes of a shipped mapping against code lists: a list that is not there is said and stops nothing, a code that is
//! not in its list goes nowhere.

use std::fs;

use kop_tests::{Error, Instance, inputs, workspace};

use crate::send_bauantrag;

/// A list with the URN and version that the shipped mapping names, but with one invented code.
const LIST: &str = r#"<gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/">
  <Identification><ShortName>anlagen</ShortName><LongName>Erfundene Anlagen</LongName><Version>3.0</Version>
    <CanonicalUri>urn:xoev-de:xbau:codeliste:anlagen</CanonicalUri></Identification>
  <ColumnSet><Column Id="Code"/><Column Id="Beschreibung"/><Key Id="K"><ColumnRef Ref="Code"/></Key></ColumnSet>
  <SimpleCodeList><Row><Value ColumnRef="Code"><SimpleValue>0000</SimpleValue></Value>
    <Value ColumnRef="Beschreibung"><SimpleValue>Nur dies</SimpleValue></Value></Row></SimpleCodeList>
</gc:CodeList>"#;

#[tokio::test]
async fn a_missing_list_is_said_and_a_wrong_code_goes_nowhere() -> Result<(), Error> {
    const SAID: &str = "Codeliste „anlagen“ Version 3.0 liegt nicht vor: nicht geprüft.";
    let instance = Instance::of_example("musterstadt")?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    assert_eq!(instance.settled(1).await?[0]["zustand"], "zugestellt");
    drop(server);
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(SAID), "{shown}");

    let mapping = workspace().join("mappings/bauantrag-xbau").display().to_string();
    let case = format!("{mapping}/tests/ozg-cloud-einfamilienhaus/payload.json");
    let run = instance.kop(&["map", "run", &mapping, &case])?;
    assert!(run.status.success() && String::from_utf8_lossy(&run.stderr).contains(SAID), "{run:?}");

    let list = instance.folder().join("anlagen.xml");
    fs::write(&list, LIST)?;
    let imported = instance.kop(&["schema", "import", &list.display().to_string()])?;
    assert!(imported.status.success(), "{imported:?}");
    let packages = instance.kop_json(&["schema", "list"])?;
    let lists = packages.as_array().into_iter().flatten().find_map(|package| package["lists"].as_array());
    let list = lists.and_then(|lists| lists.first()).ok_or("die Liste")?;
    assert_eq!((&list["urn"], &list["codes"]), (&"urn:xoev-de:xbau:codeliste:anlagen".into(), &1.into()));

    let run = instance.kop(&["map", "run", &mapping, &case, "--json"])?;
    assert!(!run.status.success());
    let problems: serde_json::Value = serde_json::from_slice(&run.stdout)?;
    assert_eq!(problems[0]["code"], "KOP-X050");
    assert_eq!(problems[0]["target"], "anlagen/anlage[1]/anlageart/code");
    assert!(problems[0]["place"]["line"].is_u64(), "{problems:#}");

    let server = instance.serve().await?;
    let mut deposit = inputs::bauantrag()?;
    deposit.form_data = deposit
        .form_data
        .replace("c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521", "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e599");
    send_bauantrag(&server, |_| deposit.form_data).await?;
    let rows = instance.settled(2).await?;
    let stopped = rows.iter().filter(|row| row["zustand"] == "klaerungsfall").count();
    assert_eq!((rows.len(), stopped), (2, 1), "{rows:#?}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    Ok(())
}
