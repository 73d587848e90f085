// SPDX-License-Identifier: EUPL-1.2
//! What leaves is what the standards ask for, said by others: xmllint on profile and official schemas, and the
//! official Schematron on a foreign engine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kop_tests::{Error, Instance, inputs, schematron, shared, workspace};

use crate::{DEPOSIT, message, send_bauantrag};

/// Root element, profile and official entry document, official rules.
const KINDS: [(&str, &str, &str, &[&str]); 4] = [
    (
        "baugenehmigung.antrag.0200",
        "xbau-hochbau-2.6",
        "xoev/xbau-2.6/xsd/xbau-nachrichten-baugenehmigung.xsd",
        &schematron::XBAU,
    ),
    (
        "universellerAntrag.antrag.1200",
        "xbau-kernmodul-1.3.0",
        "xoev/xbau-kernmodul-1.3.0/xsd/xbau-kernmodul-universellerAntrag.xsd",
        &schematron::KERNMODUL,
    ),
    (
        "FVDaten.SGOAblegen.0605",
        "xdomea-3.1.0",
        "xoev/xdomea-3.1.0/xdomea-Nachrichten-FachverfahrensdatenAustauschen.xsd",
        &[],
    ),
    (
        "Abgabe.Abgabe.0401",
        "xdomea-3.1.0",
        "xoev/xdomea-3.1.0/xdomea-Nachrichten-AbgabeDurchfuehren.xsd",
        &[],
    ),
];

/// Every message that the shipped mappings' own test cases give, as files.
fn messages_of_the_cases(instance: &Instance, into: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut made = Vec::new();
    for mapping in fs::read_dir(workspace().join("mappings"))? {
        let mapping = mapping?.path();
        let Ok(cases) = fs::read_dir(mapping.join("tests")) else { continue };
        for case in cases {
            let case = case?.path();
            if !case.join("erwartet.xml").is_file() {
                continue;
            }
            let payload = ["payload.json", "deposit.xml"].map(|name| case.join(name));
            let payload = payload.iter().find(|path| path.is_file()).ok_or("der Antrag")?;
            let about: toml::Table = toml::from_str(&fs::read_to_string(case.join("test.toml"))?)?;
            let mut args = vec!["map".to_owned(), "run".to_owned()];
            args.extend([&mapping, payload].map(|path| path.display().to_string()));
            for (name, value) in about.get("parameter").and_then(toml::Value::as_table).into_iter().flatten()
            {
                args.push("--parameter".to_owned());
                args.push(format!("{name}={}", value.as_str().unwrap_or_default()));
            }
            let output = instance.kop(&args.iter().map(String::as_str).collect::<Vec<_>>())?;
            if !output.status.success() {
                return Err(format!("{}: {}", case.display(), String::from_utf8_lossy(&output.stdout)).into());
            }
            let file = into.join(format!("{}.xml", made.len()));
            fs::write(&file, output.stdout)?;
            made.push(file);
        }
    }
    Ok(made)
}

fn kind_of(
    file: &Path,
) -> Result<&'static (&'static str, &'static str, &'static str, &'static [&'static str]), Error> {
    let text = fs::read_to_string(file)?;
    KINDS
        .iter()
        .find(|kind| text.get(..400).unwrap_or(&text).contains(&format!(":{} ", kind.0)))
        .ok_or_else(|| format!("{}: unbekannte Nachricht", file.display()).into())
}

fn xmllint(schema: &Path, catalog: &Path, files: &[PathBuf]) -> Result<(), Error> {
    let output = Command::new("xmllint")
        .args(["--nonet", "--noout", "--schema"])
        .arg(schema)
        .args(files)
        .env("XML_CATALOG_FILES", catalog)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", schema.display(), String::from_utf8_lossy(&output.stderr)).into())
}

/// The profile's document that declares a root element.
fn profile(folder: &str, root: &str) -> Result<PathBuf, Error> {
    let folder = workspace().join("xoev-schemas").join(folder);
    let mut waiting = vec![folder.clone()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "xsd")
                && fs::read_to_string(&path)?.contains(&format!("element name=\"{root}\""))
            {
                return Ok(path);
            }
        }
    }
    Err(format!("{}: {root} fehlt", folder.display()).into())
}

#[tokio::test]
async fn what_leaves_is_valid_for_profile_official_schema_and_schematron() -> Result<(), Error> {
    let Some(shared) = shared() else { return Ok(()) };
    let instance = Instance::of_example("musterstadt")?;
    let folder = tempfile::tempdir()?;

    // Once made with the shipped profiles, once with the official packages that a municipality imports.
    let mut files = messages_of_the_cases(&instance, folder.path())?;
    assert!(files.len() >= 8, "{files:?}");
    let packages = [
        "xrepository-zips/xbau_2.6_xsd_xsd_dev.zip",
        "xrepository-zips/xbau-kernmodul_1.3.0_xsd.zip",
        "xoev/xdomea-3.1.0",
        "xoev/xplanung-5.4-gmlprofile",
        "xoev/xoev-lib",
    ];
    let packages = packages.map(|package| shared.join(package).display().to_string());
    let mut import = vec!["schema", "import"];
    import.extend(packages.iter().map(String::as_str));
    let imported = instance.kop(&import)?;
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stdout));
    let tested = instance.kop(&["map", "test"])?;
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));

    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let answer = server.post_deposit(DEPOSIT, &inputs::deposit()?).await?;
    assert!(answer.status().is_success());
    // Names that the standard does not allow as they are.
    let mut odd = inputs::bauantrag()?;
    odd.attachments[0].name = "Café & Küche 'neu'.PDF".to_owned();
    odd.attachments[1].name = "ohne Endung".to_owned();
    let form = odd.form_data.replace("c1f0b7d4-52c8", "c1f0b7d4-2222");
    let answer = server.post_ozg_cloud(crate::TENANT, &form, odd.representation, odd.attachments).await?;
    assert!(answer.status().is_success());
    let rows = instance.settled(3).await?;
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    for receiver in ["bauaufsicht", "dms", "strassenbau", "strassenverkehr"] {
        for sendung in instance.delivered(receiver)? {
            files.push(message(&sendung)?);
        }
    }
    // A message names the package that it was checked with: the official one.
    let shown = instance.kop_json(&["messages", "show", rows[0]["id"].as_str().unwrap_or_default()])?;
    let listed = instance.kop_json(&["schema", "list"])?;
    let official: Vec<_> = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter(|package| package["profile"] == false)
        .map(|package| package["hash"].clone())
        .collect();
    assert!(
        official.contains(&shown["sendungen"][0]["schema_package"]),
        "{official:?} {:#}",
        shown["sendungen"][0]
    );

    let mut by_kind: BTreeMap<&str, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        by_kind.entry(kind_of(&file)?.0).or_default().push(file);
    }
    let catalog = shared.join("xoev/catalog.xml");
    for (root, profile_folder, official, rules) in KINDS {
        let files = by_kind.get(root).ok_or_else(|| format!("keine Nachricht {root}"))?;
        xmllint(&profile(profile_folder, root)?, &catalog, files)?;
        xmllint(&shared.join(official), &catalog, files)?;
        if !rules.is_empty() {
            let rules: Vec<_> = rules.iter().map(|rule| shared.join(rule)).collect();
            let failed = kop_tests::schematron(&rules, files)?;
            assert!(failed.is_empty(), "{failed:#?}");
        }
    }
    Ok(())
}
