// SPDX-License-Identifier: EUPL-1.2
//! Scripts without end or measure, on the real program: each fails its own message with its place, and nothing
//! else. With `KOP_BIN_RELEASE` the optimised build is tried as well; stacks and speed differ there.

use std::{env, fs, path::PathBuf};

use kop_tests::{Error, Instance};

use crate::{CONFIG, send_bauantrag};

const SCRIPTS: [(&str, &str); 11] = [
    ("endlos", "loop { }"),
    ("rekursion", "fn f(n) { f(n + 1) }\nf(0)"),
    ("tief", "let m = []; for i in 0..9900 { m = [m]; }\nm.to_string()"),
    ("tiefes-ergebnis", "let m = []; for i in 0..9900 { m = [m]; }\nm"),
    ("verdoppeln", "let s = \"aa\";\nfor i in 0..64 { s += s; }\ns"),
    ("auffuellen", "let s = \"\";\ns.pad(100000000, \"x\");\ns"),
    ("index", "let m = #{};\nfor i in 0..20000 { m[`k${i}`] = i; }\nm"),
    ("push", "let a = [];\nfor i in 0..16000 { a.push(#{ x: i, y: [i, i] }); }\na"),
    ("schlafen", "sleep(5)"),
    ("import", "import \"/etc/passwd\" as p;\np::x"),
    ("ueberlauf", "let n = 9223372036854775807;\nn + 1"),
];

/// A route and a JSON mapping for each script, beside the tenant's own ones.
fn add(instance: &Instance) -> Result<(), Error> {
    let mut targets = String::new();
    for (name, script) in SCRIPTS {
        let folder = instance.folder().join("mandanten/musterstadt/zuordnungen").join(name);
        fs::create_dir_all(&folder)?;
        fs::write(
            folder.join("mapping.toml"),
            format!("titel = \"{name}\"\nziel = \"json\"\ndateiname = \"{{vorgangsnummer}}.json\"\n"),
        )?;
        fs::write(folder.join("mapping.rhai"), script)?;
        targets.extend(["[[route.ziel]]\nzuordnung = \"", name, "\"\nempfaenger = [\"poststelle\"]\n"]);
    }
    instance.edit(CONFIG, |text| {
        text.replace(
            "zuordnung = \"bauantrag-xbau\"\nempfaenger = [\"bauaufsicht\"]\n",
            &format!("zuordnung = \"bauantrag-xbau\"\nempfaenger = [\"bauaufsicht\"]\n{targets}"),
        )
    })
}

async fn each_fails_alone(instance: Instance) -> Result<(), Error> {
    add(&instance)?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    // The honest mapping of the same application went through.
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    assert_eq!(instance.delivered("dms")?.len(), 1);
    assert_eq!(instance.delivered("poststelle")?.len(), 0);
    let shown = instance.kop_json(&["messages", "show", "MUST-2026-000001"])?;
    let problems: Vec<_> = shown["klaerungsfaelle"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|item| item["diagnostics"].as_array().cloned().unwrap_or_default())
        .collect();
    for (name, _) in SCRIPTS {
        let own: Vec<_> = problems
            .iter()
            .filter(|one| {
                one["place"]["file"].as_str().is_some_and(|file| file.starts_with(&format!("{name}/")))
            })
            .collect();
        assert_eq!(own.len(), 1, "{name}: {problems:#?}");
        assert!(own[0]["place"]["line"].as_u64() >= Some(1), "{name}");
        assert!(
            own[0]["code"].as_str().is_some_and(|code| code.starts_with("KOP-M0")),
            "{name}: {:#}",
            own[0]
        );
    }
    // The process is the same one, and takes in the next application.
    send_bauantrag(&server, |form| form.replace("c1f0b7d4-52c8", "c1f0b7d4-0000")).await?;
    instance.settled(2).await?;
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 2);
    Ok(())
}

#[test]
fn what_is_forbidden_is_told_before_anything_runs() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.own_mapping("bauantrag-xbau", |_| "let a = 1;\neval(\"40 + 2\")".to_owned())?;
    let checked = instance.kop(&["check"])?;
    assert!(!checked.status.success());
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("KOP-M001") && said.contains("mapping.rhai:2:1"), "{said}");
    Ok(())
}

/// An application is never refused to its sender for a mapping's fault, not even right after a start.
#[tokio::test]
async fn a_script_that_does_not_compile_holds_up_its_own_messages_only() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let script = instance.own_mapping("bauantrag-xbau", |script| format!("{script}\n}}"))?;
    let server = instance.serve().await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "klaerungsfall", "{rows:#?}");
    let shown = instance.kop(&["messages", "show", "MUST-2026-000001"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("KOP-M001") && shown.contains("bauantrag-xbau/mapping.rhai"), "{shown}");
    assert_eq!(instance.delivered("dms")?.len(), 1);

    // Mended and read anew, what waits is made up for.
    fs::copy(kop_tests::workspace().join("mappings/bauantrag-xbau/mapping.rhai"), script)?;
    server.reload()?;
    kop_tests::wait_until("neu eingelesen", std::time::Duration::from_secs(20), || {
        Ok(server.printed().contains("broken=0").then_some(()))
    })
    .await?;
    let retried = instance.kop(&["messages", "retry", "MUST-2026-000001"])?;
    assert!(retried.status.success(), "{retried:?}");
    kop_tests::wait_until("nachgeholt", std::time::Duration::from_secs(20), || {
        Ok((instance.delivered("bauaufsicht")?.len() == 1).then_some(()))
    })
    .await?;
    assert_eq!(instance.delivered("dms")?.len(), 1, "what had arrived does not arrive again");
    Ok(())
}

#[tokio::test]
async fn each_fails_alone_in_the_debug_build() -> Result<(), Error> {
    each_fails_alone(Instance::of_example("musterstadt")?).await
}

#[tokio::test]
async fn each_fails_alone_in_the_release_build() -> Result<(), Error> {
    let Some(binary) = env::var_os("KOP_BIN_RELEASE").map(PathBuf::from) else {
        #[allow(clippy::print_stderr, reason = "a skipped test has to be visible")]
        {
            eprintln!("ÜBERSPRUNGEN: KOP_BIN_RELEASE nennt kein Programm; make test setzt es");
        }
        return Ok(());
    };
    each_fails_alone(Instance::of_example("musterstadt")?.with_binary(binary)).await
}
