// SPDX-License-Identifier: EUPL-1.2
//! 40 seeded mistakes (`tests/diagnoses/faelle.toml`): does the program say which form field, which line, which element,
//! and what to do? `make diagnoses` shows the table.

use std::{fmt::Write, fs, path::Path};

use kop_tests::{Error, Instance, instance::copy_folder, shared, workspace};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Corpus {
    fall: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    zuordnung: String,
    antrag: String,
    #[serde(default)]
    amtlich: bool,
    #[serde(default)]
    feld: toml::Table,
    #[serde(default)]
    skript: Vec<(String, String)>,
    #[serde(default)]
    modul: Vec<(String, String)>,
    #[serde(default)]
    manifest: Vec<(String, String)>,
    #[serde(default)]
    tabelle: Vec<(String, String, String)>,
    erwartet: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    code: String,
    klasse: String,
    feld: String,
    zeile: String,
    ziel: String,
    abhilfe: Option<String>,
}

/// What was right of one answer.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools, reason = "one tick each")]
struct Score {
    code: bool,
    class: bool,
    field: bool,
    line: bool,
    target: bool,
    hint: bool,
}

impl Score {
    fn all(&self) -> bool {
        self.code && self.class && self.field && self.line && self.target && self.hint
    }
}

fn replace(file: &Path, from: &str, to: &str) -> Result<(), Error> {
    let text = fs::read_to_string(file)?;
    if !text.contains(from) {
        return Err(format!("{}: „{from}“ kommt nicht vor", file.display()).into());
    }
    Ok(fs::write(file, text.replacen(from, to, 1))?)
}

/// Sets a field of OZG-Cloud form-data: the n-th item of a name is its n-th repeat.
fn set(items: &mut [Value], path: &str, value: &toml::Value) -> Result<(), Error> {
    let (step, rest) = path.split_once('/').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let (name, n) = match step.split_once('[') {
        Some((name, n)) => (name, n.trim_end_matches(']').parse::<usize>()?),
        None => (step, 1),
    };
    let mut places = items.iter().enumerate().filter(|(_, item)| item["name"] == name).map(|(at, _)| at);
    let at = places.nth(n - 1).ok_or_else(|| format!("{path} gibt es nicht"))?;
    if let Some(rest) = rest {
        let below = items[at]["formItems"].as_array_mut().ok_or_else(|| format!("{path}: keine Gruppe"))?;
        return set(below, rest, value);
    }
    match value {
        toml::Value::Boolean(false) => {
            items[at] = serde_json::json!({ "name": "entfallen", "stringValue": "" });
        }
        value => {
            let (name, label) = (items[at]["name"].clone(), items[at]["label"].clone());
            items[at] = serde_json::json!({ "name": name, "label": label, "stringValue": value.as_str() });
        }
    }
    Ok(())
}

/// Makes the mistake in a copy and runs the mapping: the problems, and the folder of the copy.
fn run(case: &Case, instance: &Instance) -> Result<(Vec<Value>, tempfile::TempDir), Error> {
    let library = tempfile::tempdir()?;
    for folder in ["_gemeinsam", &case.zuordnung] {
        copy_folder(&workspace().join("mappings").join(folder), &library.path().join(folder))?;
    }
    let mapping = library.path().join(&case.zuordnung);
    for (from, to) in &case.skript {
        replace(&mapping.join("mapping.rhai"), from, to)?;
    }
    for (from, to) in &case.modul {
        replace(&library.path().join("_gemeinsam/xbau.rhai"), from, to)?;
    }
    for (from, to) in &case.manifest {
        replace(&mapping.join("mapping.toml"), from, to)?;
    }
    for (file, from, to) in &case.tabelle {
        replace(&mapping.join("tabellen").join(file), from, to)?;
    }
    let payload = mapping.join("tests").join(&case.antrag).join("payload.json");
    let mut form: Value = serde_json::from_str(&fs::read_to_string(&payload)?)?;
    let items = form["formData"].as_array_mut().ok_or("formData")?;
    // From behind, so that taking one repeat out does not renumber those still to come.
    for (path, value) in case.feld.iter().rev() {
        set(items, path, value)?;
    }
    fs::write(&payload, form.to_string())?;
    let args = ["map", "run", mapping.to_str().ok_or("Pfad")?, payload.to_str().ok_or("Pfad")?, "--json"];
    let output = instance.kop(&args)?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{}: {error}: {}", case.name, String::from_utf8_lossy(&output.stderr)))?;
    let problems = if output.status.success() { answer["hinweise"].clone() } else { answer };
    Ok((problems.as_array().cloned().unwrap_or_default(), library))
}

fn judge(case: &Case, problems: &[Value], library: &Path) -> Score {
    let wanted = &case.erwartet;
    if wanted.code.is_empty() {
        let none = !problems.iter().any(|one| one["severity"] == "fehler");
        return Score { code: none, class: none, field: none, line: none, target: none, hint: none };
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // One mistake can show in several elements: the one that is asked for, else the first.
    let same = || problems.iter().filter(|one| one["code"] == *wanted.code);
    let there = same().find(|one| text(&one["target"]) == wanted.ziel);
    let Some(found) = there.or_else(|| same().next()) else { return Score::default() };
    let line = || -> Option<String> {
        let place = found.get("place")?;
        let script = fs::read_to_string(library.join(place["file"].as_str()?)).ok()?;
        let line = usize::try_from(place["line"].as_u64()?).ok()?;
        script.lines().nth(line.checked_sub(1)?).map(str::to_owned)
    };
    Score {
        code: true,
        class: text(&found["class"]) == wanted.klasse,
        field: text(&found["field"]["path"]) == wanted.feld,
        line: wanted.zeile.is_empty() || line().is_some_and(|line| line.contains(&wanted.zeile)),
        target: wanted.ziel.is_empty() || text(&found["target"]) == wanted.ziel,
        hint: wanted.abhilfe.as_ref().is_none_or(|word| text(&found["hint"]).contains(word)),
    }
}

#[test]
fn forty_mistakes_are_explained() -> Result<(), Error> {
    let corpus: Corpus =
        toml::from_str(&fs::read_to_string(workspace().join("tests/diagnoses/faelle.toml"))?)?;
    assert_eq!(corpus.fall.len(), 40);
    let plain = Instance::of_example("musterstadt")?;
    let official = match shared() {
        None => None,
        Some(shared) => {
            let instance = Instance::of_example("musterstadt")?;
            let packages = [
                "xrepository-zips/xbau_2.6_xsd_xsd_dev.zip",
                "xrepository-zips/xbau-kernmodul_1.3.0_xsd.zip",
                "xoev/xplanung-5.4-gmlprofile",
                "xoev/xoev-lib",
                "xoev/xbau-2.6/codelists",
                "xoev/codelists-common",
            ];
            let packages = packages.map(|package| shared.join(package).display().to_string());
            let mut import = vec!["schema", "import"];
            import.extend(packages.iter().map(String::as_str));
            let imported = instance.kop(&import)?;
            assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
            Some(instance)
        }
    };
    let mut table = String::from("\nCode Klasse Feld Zeile Ziel Abhilfe  Fall\n");
    let (mut exact, mut hints, mut judged) = (0, 0, 0);
    let mut wrong = String::new();
    for case in &corpus.fall {
        let Some(instance) = (if case.amtlich { official.as_ref() } else { Some(&plain) }) else {
            let _ = writeln!(table, "übersprungen (../shared fehlt)       {}", case.name);
            continue;
        };
        let (problems, library) = run(case, instance)?;
        let score = judge(case, &problems, library.path());
        let mark = |right: bool| if right { "✓" } else { "✗" };
        let _ = writeln!(
            table,
            "{}    {}      {}    {}     {}    {}        {}",
            mark(score.code),
            mark(score.class),
            mark(score.field),
            mark(score.line),
            mark(score.target),
            mark(score.hint),
            case.name
        );
        judged += 1;
        exact += u32::from(score.code && score.field && score.line && score.target);
        hints += u32::from(score.hint);
        if !score.all() {
            let _ = writeln!(wrong, "\n{}: {:#}", case.name, Value::from(problems));
        }
    }
    let _ = writeln!(
        table,
        "\nFeld, Zeile und Ziel richtig: {exact} von {judged}; Abhilfe nennt das Mittel: {hints} von {judged}"
    );
    #[allow(clippy::print_stdout, reason = "the table is what `make diagnoses` is for")]
    {
        println!("{table}");
        if std::env::var_os("KOP_DIAGNOSES").is_some() {
            println!("{wrong}");
        }
    }
    assert_eq!(exact, judged, "{table}{wrong}");
    assert!(hints + 4 >= judged, "{table}{wrong}");
    Ok(())
}

/// The answers come from the application and the script, not from what we know of them: with other names they name those.
#[test]
fn renamed_fields_and_columns_change_the_answer() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    let library = tempfile::tempdir()?;
    let mapping = library.path().join("hundesteuer-csv");
    copy_folder(&workspace().join("mappings/hundesteuer-csv"), &mapping)?;
    let payload = mapping.join("tests/ozg-cloud-zwei-hunde/payload.json");
    for (file, from, to) in [
        (mapping.join("mapping.rhai"), "pers_vorname", "taufname"),
        (mapping.join("mapping.rhai"), "Vorname:", "Taufname:"),
        (mapping.join("mapping.toml"), "Vorname", "Taufname"),
        (payload.clone(), "pers_vorname", "taufname"),
        (payload.clone(), "Jörn", "Ayşe"),
    ] {
        replace(&file, from, to)?;
    }
    let args = ["map", "run", mapping.to_str().ok_or("Pfad")?, payload.to_str().ok_or("Pfad")?, "--json"];
    let found: Value = serde_json::from_slice(&instance.kop(&args)?.stdout)?;
    assert_eq!(found[0]["code"], "KOP-F011", "{found:#}");
    assert_eq!(found[0]["field"]["path"], "antragsteller/taufname", "{found:#}");
    assert_eq!(found[0]["target"], "zeile[1]/Taufname", "{found:#}");
    Ok(())
}
