// SPDX-License-Identifier: EUPL-1.2
//! What the author of a tenant's configuration may say about an HTTP receiver, and the checked form of it.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use kop_connector_api::{Secret, SettingProblem, parse_settings};
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde::Deserialize;

/// An attempt must end while the engine still waits for it (it gives up after 14 minutes).
const LONGEST_ATTEMPT_S: u64 = 800;
const LONGEST_CONNECT_S: u64 = 120;
const MOST_HEADERS: usize = 32;

/// Headers that the connector or the HTTP stack sets itself; a second hand at them breaks the request or lets
/// it be read in two ways. `cookie` and `proxy-authorization` would be secrets in plain sight.
const OWN_HEADERS: [&str; 15] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Zustellung über HTTP: jede Sendung wird mit POST an eine Adresse gesendet. Umleitungen wird nicht gefolgt, ein
/// Proxy wird nicht benutzt.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Vollständige Adresse, zum Beispiel `https://fachverfahren.example/eingang`. Zugangsdaten gehören nicht
    /// hinein, sondern unter `anmeldung`.
    pub url: String,

    /// Ob Hauptdokument und Anlagen zusammen als `multipart/form-data` gesendet werden oder nur das
    /// Hauptdokument.
    #[serde(default)]
    pub form: Form,

    /// Womit sich KOP engine beim Empfänger anmeldet.
    #[serde(default)]
    pub anmeldung: Option<Anmeldung>,

    /// Weitere Kopfzeilen der Anfrage mit festem Wert. Geheimnisse gehören nicht hierher: dafür gibt es
    /// `anmeldung` mit `art = "kopfzeile"`.
    #[serde(default)]
    pub kopfzeilen: BTreeMap<String, String>,

    /// Kopfzeile, an der der Empfänger eine wiederholte Sendung erkennt. Ihr Wert ist die Kennung der Zustellung
    /// (eine UUID) und bei jedem Versuch derselbe.
    #[serde(default = "default_key_header")]
    pub idempotenz_kopf: String,

    /// Ob der Empfänger eine Sendung mit derselben Kennung erkennt und nicht doppelt annimmt. Nur dann wird nach
    /// einem Versuch mit ungewissem Ausgang von selbst wiederholt; sonst entsteht ein Klärungsfall.
    #[serde(default)]
    pub wiederholbar: bool,

    /// Kopfzeile der Antwort, in der das Aktenzeichen oder die Adresse des Empfängers für die Sendung steht.
    #[serde(default = "default_reference_header")]
    pub referenz_kopf: String,

    /// So lange darf ein Versuch insgesamt dauern, in Sekunden (1 bis 800).
    #[serde(default = "default_attempt")]
    #[schemars(range(min = 1, max = LONGEST_ATTEMPT_S))]
    pub zeitlimit_sekunden: u64,

    /// So lange darf der Aufbau der Verbindung dauern, in Sekunden (1 bis 120, nicht länger als
    /// `zeitlimit_sekunden`).
    #[serde(default = "default_connect")]
    #[schemars(range(min = 1, max = LONGEST_CONNECT_S))]
    pub verbindung_sekunden: u64,

    /// Weitere Zertifikate (PEM), denen beim Empfänger vertraut wird, zusätzlich zu denen des Betriebssystems.
    /// Bezogen auf den Ordner der Instanz.
    #[serde(default)]
    pub ca_datei: Option<String>,

    /// Erlaubt `http://` auch zu einem anderen Rechner. Dann kann jeder auf dem Weg Antragsdaten und Zugangsdaten
    /// mitlesen und verändern, und niemand prüft, wer der Empfänger ist. Nur in einem Netz einsetzen, das
    /// anders geschützt ist.
    #[serde(default)]
    pub unverschluesselt: bool,
}

/// Wie eine Sendung in den Körper der Anfrage kommt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `multipart/form-data`: das Hauptdokument als Teil `nachricht`, jede weitere Datei als Teil `anlage`.
    #[default]
    Multipart,
    /// Das Hauptdokument allein. Sendungen mit Anlagen werden so nicht zugestellt.
    Einzeln,
}

/// Womit sich KOP engine beim Empfänger anmeldet. Geheimnisse stehen als Verweis da (`env:NAME` oder
/// `file:PFAD`) und werden bei jedem Versuch neu gelesen.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(tag = "art", rename_all = "lowercase", deny_unknown_fields)]
pub enum Anmeldung {
    /// Benutzer und Passwort (HTTP Basic, RFC 7617).
    Basic {
        /// Benutzername; ohne Doppelpunkt.
        benutzer: String,
        /// Verweis auf das Passwort.
        passwort: Secret,
    },
    /// Ein Zugangstoken (RFC 6750).
    Bearer {
        /// Verweis auf das Token.
        token: Secret,
    },
    /// Ein Schlüssel in einer eigenen Kopfzeile.
    Kopfzeile {
        /// Name der Kopfzeile, zum Beispiel `X-API-Key`.
        name: String,
        /// Verweis auf den Schlüssel.
        wert: Secret,
    },
}

fn default_key_header() -> String {
    "Idempotency-Key".to_owned()
}

fn default_reference_header() -> String {
    "Location".to_owned()
}

fn default_attempt() -> u64 {
    300
}

fn default_connect() -> u64 {
    10
}

/// Settings that passed every check.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) url: Url,
    pub(crate) form: Form,
    pub(crate) login: Option<Login>,
    pub(crate) headers: HeaderMap,
    pub(crate) key_header: HeaderName,
    pub(crate) reference_header: HeaderName,
    pub(crate) repeatable: bool,
    pub(crate) attempt: Duration,
    pub(crate) connect: Duration,
    /// Relative, only plain components.
    pub(crate) certificates: Option<PathBuf>,
}

/// Checked credentials; the secrets are still references.
#[derive(Clone, Debug)]
pub(crate) enum Login {
    Basic { user: String, password: Secret },
    Bearer { token: Secret },
    Header { name: HeaderName, value: Secret },
}

/// Collects mistakes, so that their author sees all at once.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<SettingProblem>);

impl Problems {
    pub(crate) fn add(&mut self, path: &str, de: &str, en: &str) {
        self.0.push(SettingProblem { path: path.to_owned(), de: de.to_owned(), en: en.to_owned() });
    }

    pub(crate) fn url(&mut self, text: &str, plain_allowed: bool) -> Option<Url> {
        // The parser would drop line breaks silently.
        let clean = !text.contains(|c: char| c.is_control() || c.is_whitespace());
        let url = Url::parse(text).ok().filter(|url| {
            clean && matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty())
        });
        let Some(url) = url else {
            self.add(
                "url",
                "Die Adresse muss vollständig sein und mit „https://“ beginnen",
                "the address must be complete and begin with \"https://\"",
            );
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.add(
                "url",
                "Zugangsdaten gehören nicht in die Adresse, sondern unter „anmeldung“",
                "credentials belong under \"anmeldung\", not into the address",
            );
        }
        if url.fragment().is_some() {
            self.add("url", "Die Adresse darf kein „#“ enthalten", "the address must not contain \"#\"");
        }
        if url.scheme() == "http" && !plain_allowed && !is_loopback(&url) {
            self.add(
                "url",
                "Zu einem anderen Rechner ist „https://“ nötig; Ausnahmen erlaubt „unverschluesselt = true“",
                "another machine needs \"https://\"; \"unverschluesselt = true\" allows exceptions",
            );
        }
        Some(url)
    }

    fn header_name(&mut self, path: &str, text: &str) -> Option<HeaderName> {
        let name = HeaderName::try_from(text).ok();
        if name.is_none() {
            self.add(
                path,
                "Das ist kein Name einer Kopfzeile: nur Buchstaben, Ziffern und „-“",
                "this is no name of a header: only letters, digits and \"-\"",
            );
        }
        name
    }

    /// A header that the request gets beside those of the connector.
    fn request_header(&mut self, path: &str, text: &str) -> Option<HeaderName> {
        let name = self.header_name(path, text)?;
        if OWN_HEADERS.contains(&name.as_str()) {
            self.add(
                path,
                "Diese Kopfzeile setzt KOP engine selbst",
                "this header is set by KOP engine itself",
            );
        }
        Some(name)
    }

    pub(crate) fn headers(&mut self, texts: &BTreeMap<String, String>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if texts.len() > MOST_HEADERS {
            self.add(
                "kopfzeilen",
                "Es sind höchstens 32 Kopfzeilen möglich",
                "at most 32 headers are possible",
            );
            return headers;
        }
        for (name, text) in texts {
            let path = format!("kopfzeilen.{name}");
            let value = HeaderValue::from_str(text).ok().filter(|value| value.len() <= 1000);
            match (self.request_header(&path, name), value) {
                (Some(name), Some(value)) => {
                    if headers.insert(name, value).is_some() {
                        self.add(&path, "Diese Kopfzeile steht doppelt da", "this header is given twice");
                    }
                }
                (Some(_), None) => self.add(
                    &path,
                    "Der Wert einer Kopfzeile darf keine Steuerzeichen haben und höchstens 1000 Zeichen",
                    "a header's value must have no control characters and at most 1000 characters",
                ),
                (None, _) => {}
            }
        }
        headers
    }

    pub(crate) fn login(&mut self, login: Option<Anmeldung>) -> Option<Login> {
        Some(match login? {
            Anmeldung::Basic { benutzer, passwort } => {
                if benutzer.is_empty() || benutzer.contains(|c: char| c == ':' || c.is_control()) {
                    self.add(
                        "anmeldung.benutzer",
                        "Der Benutzername darf nicht leer sein und keinen Doppelpunkt enthalten",
                        "the user name must not be empty and must not contain a colon",
                    );
                }
                Login::Basic { user: benutzer, password: passwort }
            }
            Anmeldung::Bearer { token } => Login::Bearer { token },
            Anmeldung::Kopfzeile { name, wert } => {
                Login::Header { name: self.request_header("anmeldung.name", &name)?, value: wert }
            }
        })
    }

    pub(crate) fn certificates(&mut self, file: Option<String>) -> Option<PathBuf> {
        let certificates = file.map(PathBuf::from);
        if certificates.as_deref().is_some_and(|path| !stays_below(path)) {
            self.add(
                "ca_datei",
                "Der Pfad muss unterhalb des Ordners der Instanz liegen: kein „/“ am Anfang, kein „..“",
                "the path must stay below the instance's folder: no leading \"/\", no \"..\"",
            );
        }
        certificates
    }

    fn times(&mut self, attempt: u64, connect: u64) {
        if !(1..=LONGEST_ATTEMPT_S).contains(&attempt) {
            self.add(
                "zeitlimit_sekunden",
                "Möglich sind 1 bis 800 Sekunden",
                "1 to 800 seconds are possible",
            );
        }
        if !(1..=LONGEST_CONNECT_S).contains(&connect) || connect > attempt {
            self.add(
                "verbindung_sekunden",
                "Möglich sind 1 bis 120 Sekunden, und nicht mehr als „zeitlimit_sekunden“",
                "1 to 120 seconds are possible, and not more than \"zeitlimit_sekunden\"",
            );
        }
    }
}

impl Plan {
    pub(crate) fn read(settings: &serde_json::Value) -> Result<Self, Vec<SettingProblem>> {
        let settings: HttpSettings = parse_settings(settings).map_err(|problem| vec![problem])?;
        let mut problems = Problems::default();
        let url = problems.url(&settings.url, settings.unverschluesselt);
        let login = problems.login(settings.anmeldung);
        let headers = problems.headers(&settings.kopfzeilen);
        let key_header = problems.request_header("idempotenz_kopf", &settings.idempotenz_kopf);
        let reference_header = problems.header_name("referenz_kopf", &settings.referenz_kopf);
        problems.times(settings.zeitlimit_sekunden, settings.verbindung_sekunden);

        let login_header = match &login {
            Some(Login::Header { name, .. }) => Some(name),
            _ => None,
        };
        if [key_header.as_ref(), login_header].into_iter().flatten().any(|name| headers.contains_key(name))
            || (key_header.is_some() && key_header.as_ref() == login_header)
        {
            problems.add(
                "kopfzeilen",
                "Eine Kopfzeile ist zweimal vergeben: unter „kopfzeilen“, „idempotenz_kopf“ oder „anmeldung“",
                "a header is given twice: in \"kopfzeilen\", \"idempotenz_kopf\" or \"anmeldung\"",
            );
        }
        let certificates = problems.certificates(settings.ca_datei);
        match (url, key_header, reference_header) {
            (Some(url), Some(key_header), Some(reference_header)) if problems.0.is_empty() => Ok(Self {
                url,
                form: settings.form,
                login,
                headers,
                key_header,
                reference_header,
                repeatable: settings.wiederholbar,
                attempt: Duration::from_secs(settings.zeitlimit_sekunden),
                connect: Duration::from_secs(settings.verbindung_sekunden),
                certificates,
            }),
            _ => Err(problems.0),
        }
    }
}

/// Whether what is sent stays on this machine.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn stays_below(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn paths(settings: &Value) -> Vec<String> {
        Plan::read(settings).err().unwrap_or_default().into_iter().map(|problem| problem.path).collect()
    }

    /// Settings with one more entry.
    fn with(name: &str, value: &Value) -> Value {
        let mut settings = json!({"url": "https://amt.example/eingang"});
        settings[name] = value.clone();
        settings
    }

    #[test]
    fn addresses_are_complete_bare_and_encrypted() {
        for good in ["https://amt.example/a?b=c", "http://127.0.0.1:1/", "http://[::1]/", "http://localhost/"]
        {
            assert_eq!(paths(&json!({"url": good})), Vec::<String>::new(), "{good}");
        }
        for bad in [
            "",
            "/eingang",
            "amt.example",
            "ftp://amt.example/",
            "https://",
            "https://a b/",
            "https://amt.example/\n",
            "https://ich:geheim@amt.example/",
            "https://ich@amt.example/",
            "https://amt.example/#x",
            "http://amt.example/",
            "http://127.0.0.1.amt.example/",
            "http://10.0.0.1/",
        ] {
            assert_eq!(paths(&json!({"url": bad})), ["url"], "{bad}");
        }
        let problems = Plan::read(&json!({"url": "https://ich:geheim@amt.example/"})).unwrap_err();
        assert!(!format!("{problems:?}").contains("geheim"));
        assert!(paths(&json!({"url": "http://amt.example/", "unverschluesselt": true})).is_empty());
    }

    #[test]
    fn the_connectors_own_headers_cannot_be_set() {
        for own in OWN_HEADERS {
            let upper = own.to_uppercase();
            assert_eq!(paths(&with("kopfzeilen", &json!({&upper: "x"}))), [format!("kopfzeilen.{upper}")]);
            assert_eq!(paths(&with("idempotenz_kopf", &json!(own))), ["idempotenz_kopf"]);
        }
        assert_eq!(paths(&with("kopfzeilen", &json!({"X-Amt": "a\r\nHost: b"}))), ["kopfzeilen.X-Amt"]);
        assert_eq!(paths(&with("kopfzeilen", &json!({"X Amt": "a"}))), ["kopfzeilen.X Amt"]);
        assert_eq!(paths(&with("kopfzeilen", &json!({"x-amt": "a", "X-Amt": "b"}))), ["kopfzeilen.x-amt"]);
        assert_eq!(paths(&with("kopfzeilen", &json!({"idempotency-key": "a"}))), ["kopfzeilen"]);
        assert!(paths(&with("kopfzeilen", &json!({"X-Amt": "Tiefbau"}))).is_empty());
    }

    #[test]
    fn secrets_are_references() {
        let login = |value: Value| Plan::read(&with("anmeldung", &value));
        for good in [
            json!({"art": "basic", "benutzer": "kop", "passwort": "env:P"}),
            json!({"art": "bearer", "token": "file:/run/token"}),
            json!({"art": "kopfzeile", "name": "X-API-Key", "wert": "env:P"}),
        ] {
            assert!(login(good).is_ok());
        }
        for literal in [
            json!({"art": "basic", "benutzer": "kop", "passwort": "hunter2"}),
            json!({"art": "bearer", "token": "hunter2"}),
            json!({"art": "kopfzeile", "name": "X-API-Key", "wert": "hunter2"}),
        ] {
            let problems = login(literal).unwrap_err();
            assert!(
                problems[0].de.contains("Verweis env:NAME") && !format!("{problems:?}").contains("hunter2")
            );
        }
        let colon = json!({"art": "basic", "benutzer": "a:b", "passwort": "env:P"});
        assert_eq!(login(colon).unwrap_err()[0].path, "anmeldung.benutzer");
        let own = json!({"art": "kopfzeile", "name": "Host", "wert": "env:P"});
        assert_eq!(login(own).unwrap_err()[0].path, "anmeldung.name");
        assert!(login(json!({"art": "bearer", "token": "env:P", "mehr": 1})).is_err());
    }

    #[test]
    fn times_and_paths_are_bounded() {
        for bad in [0, 801] {
            assert!(
                paths(&with("zeitlimit_sekunden", &json!(bad))).contains(&"zeitlimit_sekunden".to_owned())
            );
        }
        for bad in [0, 121] {
            assert_eq!(paths(&with("verbindung_sekunden", &json!(bad))), ["verbindung_sekunden"]);
        }
        assert_eq!(paths(&with("zeitlimit_sekunden", &json!(5))), ["verbindung_sekunden"]);
        for bad in ["", "/etc/ssl/ca.pem", "../ca.pem"] {
            assert_eq!(paths(&with("ca_datei", &json!(bad))), ["ca_datei"], "{bad:?}");
        }
        assert_eq!(paths(&with("unbekannt", &json!(1))), [""]);
    }
}
