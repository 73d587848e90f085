// SPDX-License-Identifier: EUPL-1.2
//! Tenants read from real folders: what loads, what is refused and where the mistake is said to be.

use std::{fs, path::Path, sync::Arc};

use kop_connector_api::{Connector, ConnectorKind, SettingProblem, World, parse_settings};
use kop_core::{Diagnostic, Eingang};
use kop_mapping::{HostOptions, MappingHost};
use kop_tenant::{Generation, LoadContext, Registry, load_tenant};
use kop_xml::{OperationInfo, PartyInfo, ServiceInfo};
use tempfile::TempDir;

const MANDANT: &str = r#"
name = "Stadt Musterstadt"
stufe = "test"
ags = ["01056039"]
[parameter]
farbe = "mandant"
ort = "mandant"
[empfaenger.amt]
name = "Amt"
stufe = "test"
[empfaenger.amt.zustellung]
art = "probe"
pfad = "aus"
[[route]]
name = "Hund"
wenn = { formular = ["hund"], rhai = 'eingang.text("anzahl") == "2"' }
[[route.ziel]]
zuordnung = "zettel"
empfaenger = ["amt"]
parameter = { ort = "ziel" }
[[route]]
name = "Rest"
sonst = true
[[route.ziel]]
zuordnung = "zettel"
empfaenger = ["amt"]
"#;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[allow(dead_code)]
    pfad: String,
    #[allow(dead_code)]
    token: Option<kop_connector_api::Secret>,
}

/// A kind of receiver that can be configured and never built.
struct Probe;

impl ConnectorKind for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }
    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(Settings)
    }
    fn check(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        parse_settings::<Settings>(settings).err().into_iter().collect()
    }
    fn build(&self, _: &serde_json::Value, _: &World) -> Result<Arc<dyn Connector>, Diagnostic> {
        unreachable!("loading builds no connector")
    }
}

fn service(name: &str, namespace: &str, root: &str) -> ServiceInfo {
    let takes = OperationInfo { takes: vec![root.to_owned()], ..OperationInfo::default() };
    let party = |prefix: &str| PartyInfo { prefixes: vec![prefix.to_owned()], ..PartyInfo::default() };
    ServiceInfo {
        name: name.to_owned(),
        namespaces: vec![namespace.to_owned()],
        operations: vec![takes],
        receivers: party("amt"),
        senders: party("por"),
        ..ServiceInfo::default()
    }
}

struct Folder(TempDir);

impl Folder {
    fn new(mandant: &str) -> Self {
        let folder = Self(TempDir::new().unwrap());
        folder.put("mandanten/musterstadt/mandant.toml", mandant);
        folder.put("mappings/zettel/mapping.toml", "titel = \"Zettel\"\nziel = \"json\"\n");
        folder
            .put("mappings/zettel/mapping.rhai", "#{ farbe: parameter(\"farbe\"), ort: parameter(\"ort\") }");
        folder.put(
            "mappings/zettel/parameter.toml",
            "farbe = \"vorgabe\"\nort = \"vorgabe\"\ngroesse = \"vorgabe\"\n",
        );
        folder
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Result<Generation, Vec<Diagnostic>> {
        let host = Arc::new(MappingHost::new(HostOptions::default()));
        let kinds: Vec<Arc<dyn ConnectorKind>> = vec![Arc::new(Probe)];
        let registry = Registry { intakes: &[], kinds: &kinds, sources: &[] };
        let namespace = |standard: &str, version: &str, root: &str| {
            (standard == "probe" && root == "antrag.0001").then(|| format!("urn:probe:{version}"))
        };
        let services = [
            service("Probe1-P2A", "urn:probe:1", "antrag.0001"),
            service("Probe2-P2A", "urn:probe:2", "antrag.0001"),
        ];
        let context =
            LoadContext { registry, host: &host, message_namespace: &namespace, services: &services };
        let path = |name: &str| -> std::path::PathBuf { Path::new(self.0.path()).join(name) };
        load_tenant(&path("mandanten/musterstadt"), Some(&path("mappings")), &context)
    }
}

fn problems(mandant: &str) -> Vec<Diagnostic> {
    match Folder::new(mandant).load() {
        Ok(generation) => generation.faulty.into_values().flatten().collect(),
        Err(problems) => problems,
    }
}

fn eingang(form: &str, anzahl: &str) -> (Arc<Eingang>, serde_json::Value) {
    let id = "00000000-0000-4000-8000-000000000001";
    let document = serde_json::json!({
        "version": 1,
        "kopf": {"mandant": "musterstadt", "eingangId": id, "vorgangId": id, "vorgangsnummer": "M-1",
            "eingangszeitpunkt": "2026-01-01T10:00:00Z", "quelle": "ozg-cloud", "formularId": form},
        "formData": [{"name": "anzahl", "wert": {"text": anzahl}}],
    });
    (Arc::new(serde_json::from_value(document.clone()).unwrap()), document)
}

#[test]
fn routes_by_form_and_expression_and_else_by_the_rest() {
    let generation = Folder::new(MANDANT).load().unwrap();
    let route = |form: &str, anzahl: &str| {
        let (eingang, document) = eingang(form, anzahl);
        let names: Vec<_> = generation
            .routes_for(&eingang, &document)
            .unwrap()
            .iter()
            .map(|route| route.name.clone())
            .collect();
        names.join(" ")
    };
    assert_eq!(route("hund", "2"), "Hund");
    assert_eq!(route("hund", "1"), "Rest");
    assert_eq!(route("katze", "2"), "Rest");
}

#[test]
fn the_more_particular_parameter_wins() {
    let folder = Folder::new(MANDANT);
    let parameters = |folder: &Folder| {
        let generation = folder.load().unwrap();
        let target = &generation.routes[0].targets[0];
        let all = generation.parameters(generation.mapping("zettel").unwrap(), target);
        (all["groesse"].clone(), all["farbe"].clone(), all["ort"].clone(), generation.hash)
    };
    let before = parameters(&folder);
    assert_eq!((&*before.0, &*before.1, &*before.2), ("vorgabe", "mandant", "ziel"));
    folder.put("mandanten/musterstadt/zuordnungen/zettel/parameter.toml", "farbe = \"anpassung\"\n");
    let after = parameters(&folder);
    assert_eq!((&*after.1, &*after.2), ("anpassung", "ziel"));
    assert_ne!(before.3, after.3, "a changed overlay is another generation");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let line_of = |part: &str, text: &str| {
        let at = text.lines().position(|line| line.contains(part)).unwrap();
        u32::try_from(at + 1).unwrap()
    };
    for (from, to, code, part) in [
        (
            "stufe = \"test\"\n[empfaenger.amt.z",
            "stufe = \"produktion\"\n[empfaenger.amt.z",
            "KOP-K007",
            "empfaenger = [\"amt\"]",
        ),
        ("empfaenger = [\"amt\"]\nparameter", "empfaenger = [\"amtt\"]\nparameter", "KOP-K004", "amtt"),
        ("pfad = \"aus\"", "pfad = \"aus\"\ntoken = \"hunter2\"", "KOP-K017", "token"),
        ("art = \"probe\"", "art = \"taube\"", "KOP-K005", "taube"),
        ("ags = [\"01056039\"]", "ags = [\"1056039\"]", "KOP-K008", "1056039"),
        ("name = \"Stadt Musterstadt\"", "nam = \"Stadt Musterstadt\"", "KOP-K002", "nam ="),
        ("== \"2\"'", "=== \"2\"'", "KOP-M001", "wenn"),
    ] {
        let text = MANDANT.replacen(from, to, 1);
        assert_ne!(text, MANDANT, "{from}");
        let found = problems(&text);
        let line = line_of(part, &text);
        let said = |problem: &&Diagnostic| {
            let place = problem.place.as_ref();
            problem.code == code && place.is_some_and(|at| at.file == "mandant.toml" && at.line == line)
        };
        assert!(found.iter().any(|problem| said(&problem)), "{code} in line {line}: {found:#?}");
        assert!(!format!("{found:?}").contains("hunter2"), "a literal secret is never repeated");
    }
}

#[test]
fn names_of_mappings_cannot_leave_their_folder() {
    for name in ["../zettel", "..", "a/b", "_gemeinsam", "nichtda"] {
        let found =
            problems(&MANDANT.replacen("zuordnung = \"zettel\"", &format!("zuordnung = \"{name}\""), 1));
        assert!(found.iter().any(|p| p.code == "KOP-K003" || p.code == "KOP-K010"), "{name}: {found:#?}");
    }
    let folder = Folder::new(MANDANT);
    folder.put("geheim.toml", "farbe = \"geheim\"\n");
    let overlay = folder.0.path().join("mandanten/musterstadt/zuordnungen/zettel");
    fs::create_dir_all(&overlay).unwrap();
    std::os::unix::fs::symlink(folder.0.path().join("geheim.toml"), overlay.join("parameter.toml")).unwrap();
    assert!(
        folder
            .load()
            .unwrap()
            .faulty
            .into_values()
            .flatten()
            .collect::<Vec<_>>()
            .iter()
            .any(|problem| problem.code == "KOP-K013")
    );
}

#[test]
fn a_service_that_does_not_take_the_message_is_said_with_those_that_do() {
    let warnings = |dienst: &str, version: u8, kennung: &str| {
        let mandant = MANDANT
            .replace(
                "[empfaenger.amt.zustellung]",
                &format!("dienst = \"{dienst}\"\nkennung = \"{kennung}\"\n[empfaenger.amt.zustellung]"),
            )
            .replace(
                "[[route]]\nname = \"Hund\"",
                "[absender.portal]\nname = \"Portal\"\nkennung = \"por:1\"\n[[route]]\nname = \"Hund\"",
            );
        let folder = Folder::new(&mandant);
        let manifest = format!(
            "titel = \"Zettel\"\nziel = \"probe/{version}/antrag.0001\"\nkopf = {{ autor = \"portal\" }}\n"
        );
        folder.put("mappings/zettel/mapping.toml", &manifest);
        let warnings = folder.load().unwrap_or_else(|problems| panic!("{problems:#?}")).warnings;
        warnings
            .into_iter()
            .map(|warning| (warning.code.clone(), warning.place.unwrap().line, warning.hint.unwrap()))
            .collect::<Vec<_>>()
    };
    assert!(warnings("Probe1-P2A", 1, "amt:1").is_empty());
    let found = warnings("Probe1-P2A", 2, "amt:1");
    assert_eq!(found.len(), 2, "each route once: {found:?}");
    assert!(found.iter().all(|(code, _, hint)| code == "KOP-K018" && hint.ends_with("von: Probe2-P2A")));
    let (code, line, hint) = &warnings("Probe1-P2a", 1, "amt:1")[0];
    assert_eq!((code.as_str(), *line), ("KOP-K019", 11));
    assert!(hint.contains("Probe1-P2A"), "{hint}");
    let found = warnings("Probe1-P2A", 1, "por:1");
    assert_eq!(found, [("KOP-K020".to_owned(), 12, "Vorgesehen: amt".to_owned())]);
}
