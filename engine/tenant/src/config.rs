// SPDX-License-Identifier: EUPL-1.2
//! The shape of `mandant.toml`, exactly as it is written: German keys, unknown fields denied. What the names
//! in it refer to is checked elsewhere ([`crate::check`]).

use std::collections::BTreeMap;

use kop_core::{LanePolicy, RetrySchedule, SettleAt, Stage, WhenParked};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    encryption::VerschluesselungDatei,
    retention::{AufbewahrungDatei, WegAufbewahrungDatei},
};

/// Konfiguration eines Mandanten (`mandant.toml`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MandantDatei {
    /// Name der Behörde, wie er in Anzeigen steht.
    pub name: String,
    /// Stufe. Nur ein produktiver Mandant erreicht produktive Empfänger.
    #[serde(default)]
    pub stufe: Stage,
    /// Amtliche Gemeindeschlüssel, je 8 Ziffern.
    #[serde(default)]
    #[schemars(inner(pattern(r"^\d{8}$")))]
    pub ags: Vec<String>,
    /// Amtliche Regionalschlüssel, je 12 Ziffern.
    #[serde(default)]
    #[schemars(inner(pattern(r"^\d{12}$")))]
    pub ars: Vec<String>,
    /// Organisationseinheiten nach ihrer Kennung beim Formularhersteller oder im Zuständigkeitsfinder.
    #[serde(default)]
    pub organisationseinheiten: BTreeMap<String, Organisationseinheit>,
    /// Offene Eingänge nach Quelle. Steht die Tabelle da, ist der Eingang offen.
    #[serde(default)]
    pub eingang: BTreeMap<String, Value>,
    /// Quellen, bei denen Anträge abgeholt werden, nach ihrem Namen: `art` und die Einstellungen dieser Art.
    #[serde(default)]
    pub quelle: BTreeMap<String, Map<String, Value>>,
    /// Parameter, die für alle Zuordnungen des Mandanten gelten.
    #[serde(default)]
    pub parameter: BTreeMap<String, String>,
    /// Identitäten, unter denen Nachrichten gesendet werden (Autor im Nachrichtenkopf).
    #[serde(default)]
    pub absender: BTreeMap<String, IdentitaetDatei>,
    /// Empfänger: Identität (Leser im Nachrichtenkopf) und Zustellung.
    #[serde(default)]
    pub empfaenger: BTreeMap<String, EmpfaengerDatei>,
    /// Verschlüsselung der gespeicherten Daten.
    #[serde(default)]
    pub verschluesselung: VerschluesselungDatei,
    /// Aufbewahrung und Löschung.
    #[serde(default)]
    pub aufbewahrung: AufbewahrungDatei,
    /// Wege: welcher Eingang durch welche Zuordnung zu welchen Empfängern geht.
    #[serde(default)]
    pub route: Vec<RouteDatei>,
}

/// Organisationseinheit des Mandanten.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Organisationseinheit {
    /// Name, wie er in Anzeigen steht.
    pub name: String,
}

/// Code mit der Version seiner Codeliste, z. B. `{ code = "DVDV", version = "2" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeMitVersion {
    /// Code.
    pub code: String,
    /// Version der Codeliste.
    pub version: String,
}

/// Identität im Nachrichtenkopf.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentitaetDatei {
    /// Name der Behörde oder Stelle.
    pub name: String,
    /// Verzeichnisdienst, in dem die Kennung eingetragen ist.
    #[serde(default)]
    pub verzeichnisdienst: Option<CodeMitVersion>,
    /// Kennung im Verzeichnisdienst: drei Kleinbuchstaben, Doppelpunkt, Nummer.
    #[serde(default)]
    #[schemars(pattern(r"^[a-z]{3}:.+"))]
    pub kennung: Option<String>,
}

/// Empfänger mit Identität und Zustellung.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmpfaengerDatei {
    /// Name der Behörde oder Stelle.
    pub name: String,
    /// Stufe des Empfängers.
    #[serde(default)]
    pub stufe: Stage,
    /// Verzeichnisdienst, in dem die Kennung eingetragen ist.
    #[serde(default)]
    pub verzeichnisdienst: Option<CodeMitVersion>,
    /// Kennung im Verzeichnisdienst: drei Kleinbuchstaben, Doppelpunkt, Nummer.
    #[serde(default)]
    #[schemars(pattern(r"^[a-z]{3}:.+"))]
    pub kennung: Option<String>,
    /// Dienst des Empfängers im DVDV, z. B. `XBau26-BH2BAB`. `kop check` vergleicht ihn mit den Dienstbeschreibungen der
    /// geladenen Schemapakete: nimmt er die Nachricht an, passen die Kennungen?
    #[serde(default)]
    pub dienst: Option<String>,
    /// Wie zugestellt wird: `art` und die Einstellungen dieser Art.
    pub zustellung: Map<String, Value>,
    /// Wann nach einem Fehlversuch erneut zugestellt wird.
    #[serde(default)]
    pub wiederholung: RetrySchedule,
    /// Wie viel zugleich, wie schnell und in welcher Reihenfolge zugestellt wird.
    #[serde(default)]
    pub bahn: LanePolicy,
}

/// Ein Weg.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteDatei {
    /// Name, eindeutig im Mandanten.
    pub name: String,
    /// Bedingungen; alle angegebenen müssen zutreffen. Ohne Bedingung trifft der Weg immer zu.
    #[serde(default)]
    pub wenn: WennDatei,
    /// Nur wenn kein anderer Weg den Eingang nimmt.
    #[serde(default)]
    pub sonst: bool,
    /// Wann die Quelle eines abgeholten Antrags ihre Quittung bekommt (er also dort erledigt ist), wenn dieser Weg ihn
    /// nimmt. Bei mehreren Wegen gilt der späteste Zeitpunkt, ohne Weg `gespeichert`, und nie später als die Frist der
    /// Quelle. Absender, die selbst senden, bekommen ihre Antwort immer, sobald gespeichert ist.
    #[serde(default)]
    pub quittieren: SettleAt,
    /// Aufbewahrung und Löschung für diesen Weg.
    #[serde(default)]
    pub aufbewahrung: Option<WegAufbewahrungDatei>,
    /// Ziele; jedes ergibt je Empfänger eine Sendung.
    pub ziel: Vec<ZielDatei>,
}

/// Bedingungen eines Wegs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WennDatei {
    /// Quelle des Eingangs, eine davon: `ozg-cloud`, `intelliform`, …
    pub quelle: Vec<String>,
    /// Formularkennung, eine davon.
    pub formular: Vec<String>,
    /// Leistungsschlüssel, einer davon.
    pub leistung: Vec<String>,
    /// Organisationseinheit, eine davon.
    pub organisationseinheit: Vec<String>,
    /// Amtlicher Gemeindeschlüssel, einer davon.
    pub ags: Vec<String>,
    /// Amtlicher Regionalschlüssel, einer davon.
    pub ars: Vec<String>,
    /// JSONPath (RFC 9535) auf den Eingang im Ablageformat; trifft zu, wenn er etwas findet.
    pub jsonpath: Option<String>,
    /// Ausdruck in der Skriptsprache mit dem Wert wahr oder falsch.
    pub rhai: Option<String>,
}

/// Ein Ziel eines Wegs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZielDatei {
    /// Zuordnung nach ihrem Ordnernamen.
    pub zuordnung: String,
    /// Empfänger nach ihren Namen in `[empfaenger.*]`; je Empfänger eine Sendung.
    pub empfaenger: Vec<String>,
    /// Absender nach seinem Namen in `[absender.*]`; sonst gilt `kopf.autor` der Zuordnung.
    #[serde(default)]
    pub absender: Option<String>,
    /// Parameter, die hier statt der des Mandanten und der Zuordnung gelten.
    #[serde(default)]
    pub parameter: BTreeMap<String, String>,
    /// Was ein Klärungsfall dieses Ziels für die folgenden Zustellungen einer geordneten Bahn bedeutet; sonst gilt die
    /// Bahn des Empfängers.
    #[serde(default)]
    pub bei_stau: Option<WhenParked>,
}
