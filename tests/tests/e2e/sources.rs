// SPDX-License-Identifier: EUPL-1.2
//! Applications that are fetched from a folder: they lie there until their route's moment has come and never beyond
//! their deadline, whatever receivers, mappings or a power cut do.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use jiff::Timestamp;
use kop_store::testkit::TestPostgres;
use kop_tests::{Error, Instance, instance::copy_folder, wait_until};
use serde_json::Value;

use crate::{CONFIG, send_bauantrag};

const LIMIT: Duration = Duration::from_secs(40);
/// The id that the example's application has in its vendor's system.
const VENDOR_ID: &str = "c1f0b7d4-52c8-4c36-8a14-90d3f7b6e521";
const FIRST: &str = "MUST-2026-000001";

/// An instance with a source, and the moment at which the route of the Bauantrag has it told.
fn instance(settings: &str, moment: &str) -> Result<Instance, Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        let text = text.replace(
            "name = \"Bauantrag\"\nwenn",
            &format!("name = \"Bauantrag\"\nquittieren = \"{moment}\"\nwenn"),
        );
        format!(
            "{text}\n[quelle.formulare]\nart = \"ordner\"\npfad = \"abholung\"\nformat = \"ozg-cloud\"\ntakt_s = 1\n\
             {settings}\n"
        )
    })?;
    fs::create_dir_all(instance.folder().join("abholung"))?;
    Ok(instance)
}

/// A receiver that is down until told otherwise, in place of Bauaufsicht and DMS.
struct Receiver {
    up: Arc<AtomicBool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Receiver {
    async fn of(instance: &Instance) -> Result<Self, Error> {
        let up = Arc::new(AtomicBool::new(false));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let take = |State(up): State<Arc<AtomicBool>>, _: Bytes| async move {
            if up.load(Ordering::Relaxed) { StatusCode::CREATED } else { StatusCode::SERVICE_UNAVAILABLE }
        };
        let app = Router::new().route("/annahme", post(take)).with_state(up.clone());
        let serving = tokio::spawn(async move {
            let _ended = axum::serve(listener, app).await;
        });
        instance.edit(CONFIG, |text| {
            let http = |name: &str| {
                format!(
                    "art = \"http\"\nurl = \"http://{address}/annahme\"\nwiederholbar = true\n\
                     [empfaenger.{name}.wiederholung]\nerste_pause_s = 1\nlaengste_pause_s = 1\n\
                     [empfaenger.{name}.bahn]\nunterbrechung = {{ nach_fehlern = 1000 }}"
                )
            };
            text.replace("art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"", &http("bauaufsicht")).replace(
                "art = \"ordner\"\npfad = \"ausgang/dms\"\nname = \"{vorgangsnummer}\"",
                &http("dms"),
            )
        })?;
        Ok(Self { up, serving })
    }

    fn comes_back(&self) {
        self.up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn folder(instance: &Instance) -> PathBuf {
    instance.folder().join("abholung")
}

/// Puts the example's application there as a form server does, the marker last.
fn put(instance: &Instance, name: impl AsRef<OsStr>, vendor_id: &str) -> Result<PathBuf, Error> {
    let to = folder(instance).join(name.as_ref());
    let growing = folder(instance).join(".waechst");
    copy_folder(&instance.folder().join("eingaenge/ozg-cloud"), &growing)?;
    let file = growing.join("formData.json");
    fs::write(&file, fs::read_to_string(&file)?.replace(VENDOR_ID, vendor_id))?;
    fs::rename(growing, &to)?;
    fs::write(to.join("fertig"), "")?;
    Ok(to)
}

/// The names in a folder of the source, sorted.
fn names(instance: &Instance, below: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(instance).join(below)).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn show(instance: &Instance, number: &str) -> Result<Value, Error> {
    instance.kop_json(&["messages", "show", number])
}

/// The submission's settlements, and its deliveries to receivers.
fn deliveries(shown: &Value) -> (Vec<Value>, Vec<Value>) {
    let all = shown["zustellungen"].as_array().cloned().unwrap_or_default();
    all.into_iter().partition(|one| one["quittung"].is_object())
}

/// Waits until an application is stored.
async fn stored(instance: &Instance, number: &str) -> Result<Value, Error> {
    wait_until("Der Antrag ist gespeichert", LIMIT, || Ok(show(instance, number).ok())).await
}

async fn moved(instance: &Instance, name: &str) -> Result<(), Error> {
    let there = folder(instance).join("erledigt").join(name);
    wait_until(&format!("{name} ist erledigt"), LIMIT, || Ok(there.exists().then_some(()))).await
}

/// Waits until every delivery to a receiver has been tried in vain.
async fn tried_in_vain(instance: &Instance) -> Result<(), Error> {
    wait_until("Die Empfänger antworten nicht", LIMIT, || {
        let (_, receivers) = deliveries(&show(instance, FIRST)?);
        let failed = |one: &Value| one["attempts"].as_u64() >= Some(1) && one["state"] != "zugestellt";
        Ok((receivers.len() == 2 && receivers.iter().all(failed)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn it_goes_as_soon_as_it_is_stored_or_valid_whatever_the_receivers_do() -> Result<(), Error> {
    for moment in ["gespeichert", "geprueft"] {
        let instance = instance("", moment)?;
        let _receiver = Receiver::of(&instance).await?;
        let _server = instance.serve().await?;
        put(&instance, "antrag-1", VENDOR_ID)?;
        moved(&instance, "antrag-1").await?;
        tried_in_vain(&instance).await?;
        assert_eq!(names(&instance, "."), ["erledigt"], "{moment}");
        let kept = folder(&instance).join("erledigt/antrag-1/anlagen/Lageplan 1-500.pdf");
        assert!(kept.is_file(), "moved whole");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_that_cannot_be_made_keeps_it_and_refuses_nothing() -> Result<(), Error> {
    let instance = instance("", "geprueft")?;
    instance.own_mapping("bauantrag-xbau", |_| "throw \"kaputt\"".to_owned())?;
    let server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    let shown = wait_until("Es gibt einen Klärungsfall", LIMIT, || {
        let shown = show(&instance, FIRST).unwrap_or_default();
        Ok((shown["zustand"] == "klaerungsfall").then_some(shown))
    })
    .await?;
    assert_eq!(shown["eingang"]["state"], "klaerung");
    let (settlements, _) = deliveries(&shown);
    assert_eq!(settlements[0]["quittung"]["wartet"], true, "{settlements:#?}");
    // Time enough to be moved if it were.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(names(&instance, "."), ["antrag-1"], "neither settled nor put aside");
    let said = String::from_utf8(instance.kop(&["messages", "show", FIRST])?.stdout)?;
    assert!(said.contains("Quittung an Quelle „formulare“"), "{said}");
    assert!(said.contains("wartet, bis alle Sendungen gültig erzeugt sind"), "{said}");

    // Mended and processed again, it is valid, and goes in that step.
    instance.edit("mandanten/musterstadt/zuordnungen/bauantrag-xbau/mapping.rhai", |_| {
        fs::read_to_string(kop_tests::workspace().join("mappings/bauantrag-xbau/mapping.rhai"))
            .unwrap_or_default()
    })?;
    server.reload()?;
    wait_until("Die neue Fassung gilt", LIMIT, || Ok(server.printed().contains("Reloaded").then_some(())))
        .await?;
    assert!(instance.kop(&["messages", "retry", FIRST])?.status.success());
    moved(&instance, "antrag-1").await
}

#[tokio::test]
async fn it_waits_for_delivery_or_for_receipts_where_the_route_says_so() -> Result<(), Error> {
    for moment in ["zugestellt", "quittiert"] {
        let instance = instance("", moment)?;
        let receiver = Receiver::of(&instance).await?;
        let _server = instance.serve().await?;
        put(&instance, "antrag-1", VENDOR_ID)?;
        stored(&instance, FIRST).await?;
        tried_in_vain(&instance).await?;
        assert_eq!(names(&instance, "."), ["antrag-1"], "{moment}");
        receiver.comes_back();
        moved(&instance, "antrag-1").await?;
        let rows = instance.settled(1).await?;
        assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    }

    // A folder cannot confirm that anybody received anything: handed over is not enough, and a person lets go.
    let instance = instance("", "quittiert")?;
    let _server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    let shown = wait_until("Alles ist übergeben", LIMIT, || {
        let shown = show(&instance, FIRST).unwrap_or_default();
        Ok((shown["zustand"] == "zugestellt").then_some(shown))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(names(&instance, "."), ["antrag-1"]);
    let (settlements, receivers) = deliveries(&shown);
    assert!(receivers.iter().all(|one| one["receipt"]["level"] == "uebergeben"), "{receivers:#?}");
    let id = settlements[0]["delivery_id"].as_str().unwrap_or_default();
    assert!(instance.kop(&["messages", "retry", id])?.status.success());
    moved(&instance, "antrag-1").await
}

#[tokio::test]
async fn its_deadline_comes_before_everything_else() -> Result<(), Error> {
    let instance = instance("frist_s = 8", "quittiert")?;
    let receiver = Receiver::of(&instance).await?;
    let _server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    moved(&instance, "antrag-1").await?;
    tried_in_vain(&instance).await?;
    let (shown, moment) = wait_until("Die Quittung ist festgehalten", LIMIT, || {
        let shown = show(&instance, FIRST)?;
        let id = deliveries(&shown).0[0]["delivery_id"].clone();
        let attempts = shown["versuche"].as_array().cloned().unwrap_or_default();
        let done =
            attempts.into_iter().find(|one| one["delivery_id"] == id && one["outcome"] == "zugestellt");
        Ok(done.map(|attempt| (shown, attempt["started_at"].clone())))
    })
    .await?;
    let at = |value: &Value| -> Result<Timestamp, Error> { Ok(value.as_str().unwrap_or_default().parse()?) };
    let waited = at(&moment)?.duration_since(at(&shown["eingang"]["received_at"])?);
    // A tenth of the time before the deadline, at the earliest; at the latest within what a busy machine takes.
    assert!(waited.as_millis() >= 7_000, "not before it has to be: {waited:?}");
    assert!(waited.as_secs() < 30, "{waited:?}");

    // The application is not touched by that, and arrives when its receivers are back.
    assert_eq!(shown["eingang"]["state"], "verarbeitet");
    assert!(shown["klaerungsfaelle"].as_array().is_some_and(Vec::is_empty), "{shown:#}");
    receiver.comes_back();
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "{rows:#?}");
    assert_eq!(names(&instance, "erledigt"), ["antrag-1"]);
    Ok(())
}

#[tokio::test]
async fn what_was_stored_is_settled_once_after_a_power_cut() -> Result<(), Error> {
    let instance =
        instance("[quelle.formulare.wiederholung]\nerste_pause_s = 1\nlaengste_pause_s = 1", "gespeichert")?;
    // Stored, and every attempt to settle fails, until the power does.
    let blocker = folder(&instance).join("erledigt");
    fs::write(&blocker, "")?;
    let mut server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    put(&instance, "antrag-2", "c1f0b7d4-0000-0000-0000-000000000002")?;
    for number in [FIRST, "MUST-2026-000002"] {
        wait_until("Die Quittung ist versucht", LIMIT, || {
            let (settlements, _) = deliveries(&show(&instance, number).unwrap_or_default());
            Ok(settlements.first().and_then(|one| one["attempts"].as_u64()).filter(|tried| *tried >= 1))
        })
        .await?;
    }
    server.kill()?;
    assert_eq!(names(&instance, "."), ["antrag-1", "antrag-2", "erledigt"], "nothing was moved yet");

    fs::remove_file(&blocker)?;
    let _server = instance.serve().await?;
    for name in ["antrag-1", "antrag-2"] {
        moved(&instance, name).await?;
    }
    let rows = instance.settled(2).await?;
    // Read again after the start, recognised, and nothing made of it a second time.
    assert_eq!(rows.len(), 2, "{rows:#?}");
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 2);
    assert_eq!((names(&instance, "."), names(&instance, "erledigt").len()), (vec!["erledigt".to_owned()], 2));
    for number in [FIRST, "MUST-2026-000002"] {
        let (settlements, _) = deliveries(&show(&instance, number)?);
        assert_eq!(settlements.len(), 1, "{settlements:#?}");
        assert_eq!(settlements[0]["state"], "zugestellt");
    }
    Ok(())
}

#[tokio::test]
async fn a_source_that_cannot_be_told_is_a_klaerungsfall_of_its_own() -> Result<(), Error> {
    let settings = "[quelle.formulare.wiederholung]\nversuche = 2\nerste_pause_s = 1\nlaengste_pause_s = 1";
    let instance = instance(settings, "gespeichert")?;
    let blocker = folder(&instance).join("erledigt");
    fs::write(&blocker, "")?;
    let _server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    let shown = wait_until("Es gibt einen Klärungsfall", LIMIT, || {
        let shown = show(&instance, FIRST).unwrap_or_default();
        let code = &shown["klaerungsfaelle"][0]["diagnostics"][0]["code"];
        let (_, receivers) = deliveries(&shown);
        let arrived = receivers.len() == 2 && receivers.iter().all(|one| one["state"] == "zugestellt");
        Ok((*code == "KOP-Z023" && arrived).then_some(shown))
    })
    .await?;
    let (settlements, _) = deliveries(&shown);
    assert_eq!(
        (settlements[0]["state"].as_str(), settlements[0]["attempts"].as_u64()),
        (Some("klaerung"), Some(2))
    );
    assert_eq!(shown["eingang"]["state"], "verarbeitet", "the application is what it is");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    let id = settlements[0]["delivery_id"].as_str().unwrap_or_default();
    let remap = instance.kop(&["messages", "remap", id, "--version", "aktuelle"])?;
    let said = String::from_utf8_lossy(&remap.stdout).into_owned() + &String::from_utf8_lossy(&remap.stderr);
    assert!(said.contains("KOP-F034"), "{said}");

    fs::remove_file(&blocker)?;
    assert!(instance.kop(&["messages", "retry", id])?.status.success());
    moved(&instance, "antrag-1").await?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["zustand"], "zugestellt", "the Klärungsfall is closed: {rows:#?}");
    Ok(())
}

/// The only directory entry in `fehler/` that is called so, and what its note says.
async fn put_aside(instance: &Instance, name: &str) -> Result<String, Error> {
    let note = folder(instance).join(format!("fehler/{name}.FEHLER.txt"));
    wait_until(&format!("{name} ist beiseitegelegt"), LIMIT, || Ok(note.is_file().then_some(()))).await?;
    let moved = folder(instance).join("fehler").join(name);
    assert!(fs::symlink_metadata(moved).is_ok() && !names(instance, ".").contains(&name.to_owned()));
    Ok(fs::read_to_string(note)?)
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_and_told() -> Result<(), Error> {
    let instance = instance("", "gespeichert")?;
    instance.edit(CONFIG, |text| {
        text.replace(
            "[eingang.ozg-cloud]",
            "[eingang.ozg-cloud]\nmax_groesse_mb = 1\nbenutzer = \"f\"\npasswort = \"env:X\"",
        )
    })?;
    let secret = instance.folder().join("geheim.pdf");
    fs::write(&secret, "nur für den Betrieb")?;
    let hostile = |name: &str, change: &dyn Fn(&Path) -> Result<(), Error>| -> Result<(), Error> {
        let growing = folder(&instance).join(".boese");
        copy_folder(&instance.folder().join("eingaenge/ozg-cloud"), &growing)?;
        change(&growing)?;
        fs::write(growing.join("fertig"), "")?;
        Ok(fs::rename(growing, folder(&instance).join(name))?)
    };
    hostile("verweis", &|dir| Ok(symlink(&secret, dir.join("anlagen/plan.pdf"))?))?;
    hostile("ordnerverweis", &|dir| {
        fs::remove_dir_all(dir.join("anlagen"))?;
        Ok(symlink(instance.folder(), dir.join("anlagen"))?)
    })?;
    hostile("leer", &|dir| Ok(fs::remove_file(dir.join("formData.json"))?))?;
    hostile("kaputt", &|dir| Ok(fs::write(dir.join("formData.json"), "{")?))?;
    hostile("gross", &|dir| Ok(fs::write(dir.join("anlagen/gross.bin"), vec![7; 1_100_000])?))?;
    symlink(instance.folder(), folder(&instance).join("instanz"))?;
    // Not finished, not final, not ours: left alone.
    fs::create_dir(folder(&instance).join("waechst"))?;
    fs::write(folder(&instance).join("waechst/formData.json"), "{}")?;
    fs::create_dir(folder(&instance).join("halb.tmp"))?;
    fs::write(folder(&instance).join("halb.tmp/fertig"), "")?;

    let server = instance.serve().await?;
    for (name, code) in [
        ("verweis", "KOP-Z021"),
        ("ordnerverweis", "KOP-Z021"),
        ("instanz", "KOP-Z021"),
        ("leer", "KOP-Z020"),
        ("kaputt", "KOP-E"),
        ("gross", "KOP-E"),
    ] {
        let note = put_aside(&instance, name).await?;
        assert!(note.starts_with("Dieser Antrag konnte am ") && note.contains(code), "{name}: {note}");
        assert!(note.contains("zurücklegen"), "{name}: {note}");
    }
    let rows = instance.kop_json(&["messages", "list"])?;
    assert_eq!(rows, serde_json::json!([]), "nothing of it was taken in");
    assert!(
        secret.is_file() && instance.folder().join("kop.toml").is_file(),
        "a link is moved, not what it names"
    );
    // Beside all that, the others go on; a name need not be UTF-8, and no login is asked of a folder.
    let strange = OsStr::from_bytes(b"antrag-\xff\xfe");
    put(&instance, strange, VENDOR_ID)?;
    let there = folder(&instance).join("erledigt").join(strange);
    wait_until("Auch der mit dem fremden Namen", LIMIT, || Ok(there.is_dir().then_some(()))).await?;
    assert_eq!(names(&instance, "."), ["erledigt", "fehler", "halb.tmp", "waechst"]);
    let (_, page) = server.ask("/metrics").await?;
    let count = |result: &str, count: u32| {
        let labels = format!("mandant=\"musterstadt\",quelle=\"formulare\",ergebnis=\"{result}\"");
        page.contains(&format!("kop_source_payloads_total{{{labels}}} {count}\n"))
    };
    assert!(count("abgelehnt", 6) && count("angenommen", 1), "{page}");
    let printed = server.printed();
    assert_eq!(printed.matches("cannot be read and is put aside").count(), 6, "each once: {printed}");
    assert!(!printed.contains("nur für den Betrieb"));
    Ok(())
}

#[tokio::test]
async fn the_same_again_is_settled_again_and_not_processed() -> Result<(), Error> {
    let instance = instance("", "gespeichert")?;
    let server = instance.serve().await?;
    put(&instance, "antrag-1", VENDOR_ID)?;
    moved(&instance, "antrag-1").await?;
    instance.settled(1).await?;
    // From where it went, under another name, and by another door: it is one application.
    fs::rename(folder(&instance).join("erledigt/antrag-1"), folder(&instance).join("antrag-1"))?;
    moved(&instance, "antrag-1").await?;
    put(&instance, "noch-einmal", VENDOR_ID)?;
    moved(&instance, "noch-einmal").await?;
    // What lies there under its name already stays.
    put(&instance, "antrag-1", VENDOR_ID)?;
    wait_until("Der dritte ist auch erledigt", LIMIT, || {
        Ok((names(&instance, "erledigt").len() == 3).then_some(()))
    })
    .await?;
    send_bauantrag(&server, str::to_owned).await?;
    let rows = instance.settled(1).await?;
    assert_eq!((rows.len(), rows[0]["zustand"].as_str()), (1, Some("zugestellt")), "{rows:#?}");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), 1);
    let (settlements, _) = deliveries(&show(&instance, FIRST)?);
    assert_eq!(settlements.len(), 4, "{settlements:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_folder_and_one_of_them_dies() -> Result<(), Error> {
    const APPLICATIONS: usize = 30;
    let Some(postgres) = TestPostgres::start() else { return Ok(()) };
    let instance = instance("", "zugestellt")?.with_database(&postgres.database("kop"), None)?;
    let mut first = instance.serve().await?;
    let _second = instance.serve().await?;
    for number in 0..APPLICATIONS {
        let vendor_id = format!("c1f0b7d4-0000-0000-0000-{number:012}");
        put(&instance, format!("antrag-{number:02}"), &vendor_id)?;
    }
    wait_until("Die Hälfte ist erledigt", LIMIT, || {
        Ok((names(&instance, "erledigt").len() >= APPLICATIONS / 2).then_some(()))
    })
    .await?;
    first.kill()?;
    let expected: Vec<_> = (0..APPLICATIONS).map(|number| format!("antrag-{number:02}")).collect();
    // What the dead one had begun ends within the time after which it counts as dead.
    wait_until("Alle sind erledigt", Duration::from_secs(90), || {
        Ok((names(&instance, "erledigt").len() >= APPLICATIONS).then_some(()))
    })
    .await?;
    let rows = instance.settled(APPLICATIONS).await?;
    assert_eq!(rows.len(), APPLICATIONS, "each is one application");
    assert!(rows.iter().all(|row| row["zustand"] == "zugestellt"), "{rows:#?}");
    assert_eq!(names(&instance, "erledigt"), expected, "each is moved once");
    assert_eq!(names(&instance, "."), ["erledigt"], "nothing is put aside or left");
    assert_eq!(instance.delivered("bauaufsicht")?.len(), APPLICATIONS);
    Ok(())
}

#[tokio::test]
async fn a_single_file_of_another_vendor_is_fetched_and_deleted() -> Result<(), Error> {
    let instance = Instance::of_example("musterstadt")?;
    instance.edit(CONFIG, |text| {
        format!(
            "{text}\n[quelle.afm]\nart = \"ordner\"\npfad = \"abholung\"\nformat = \"intelliform\"\ntakt_s = 1\n\
             fertig = \"umbenannt\"\ndanach = \"loeschen\"\n[quelle.still]\nart = \"ordner\"\npfad = \"still\"\n\
             format = \"intelliform\"\ntakt_s = 1\nfertig = \"ruhe\"\nruhe_s = 2\n"
        )
    })?;
    let deposit = instance.folder().join("eingaenge/intelliform/deposit.xml");
    fs::create_dir_all(folder(&instance))?;
    fs::create_dir_all(instance.folder().join("still"))?;
    let _server = instance.serve().await?;
    let growing = folder(&instance).join("antrag.xml.part");
    fs::copy(&deposit, &growing)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(names(&instance, "."), ["antrag.xml.part"], "not its final name");
    fs::rename(&growing, folder(&instance).join("antrag.xml"))?;
    let rows = instance.settled(1).await?;
    assert_eq!(rows[0]["quelle"], "intelliform", "{rows:#?}");
    wait_until("Der Antrag ist gelöscht", LIMIT, || Ok(names(&instance, ".").is_empty().then_some(())))
        .await?;

    // The other one is taken once nothing about it changes any more.
    let still = instance.folder().join("still/antrag.xml");
    let whole = fs::read_to_string(&deposit)?;
    let (first, rest) = whole.split_at(whole.len() / 2);
    fs::write(&still, first)?;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    fs::write(&still, format!("{first}{rest}"))?;
    let done = instance.folder().join("still/erledigt/antrag.xml");
    wait_until("Der stille ist erledigt", LIMIT, || Ok(done.is_file().then_some(()))).await?;
    assert_eq!(fs::read_to_string(done)?, whole);
    assert!(!instance.folder().join("still/fehler").exists(), "half of it was never read");
    Ok(())
}
