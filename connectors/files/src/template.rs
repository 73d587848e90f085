// SPDX-License-Identifier: EUPL-1.2
//! The template of a Sendung's directory: parsed once, rendered from facts that stay the same at every
//! attempt, and safe whatever the facts hold.

use jiff::tz::TimeZone;
use kop_core::{Sendung, eingang::sicherer_dateiname};

/// Longest value in bytes, so that no value pushes the others out of the name.
const LONGEST_VALUE: usize = 64;
/// Longest folder name in bytes: what [`sicherer_dateiname`] leaves alone, far below what file systems take.
const LONGEST_NAME: usize = 120;
/// More levels than anyone sorts by.
const DEEPEST: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Template {
    folders: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Value(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Datum,
    Jahr,
    Monat,
    Tag,
    Vorgangsnummer,
    MessageId,
    KurzId,
    Mandant,
    Zuordnung,
}

const PLACEHOLDERS: &[(&str, Placeholder)] = &[
    ("datum", Placeholder::Datum),
    ("jahr", Placeholder::Jahr),
    ("monat", Placeholder::Monat),
    ("tag", Placeholder::Tag),
    ("vorgangsnummer", Placeholder::Vorgangsnummer),
    ("message_id", Placeholder::MessageId),
    ("kurz_id", Placeholder::KurzId),
    ("mandant", Placeholder::Mandant),
    ("zuordnung", Placeholder::Zuordnung),
];

/// Why a text is no template.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub(crate) de: String,
    pub(crate) en: String,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        let folders = text.split('/').map(folder).collect::<Result<Vec<_>, _>>()?;
        if folders.len() > DEEPEST {
            return Err(mistake(
                format!("Der Name hat mehr als {DEEPEST} Ebenen"),
                format!("the name has more than {DEEPEST} levels"),
            ));
        }
        let tells_apart = |piece: &Piece| {
            use Placeholder::{KurzId, MessageId, Vorgangsnummer};
            matches!(piece, Piece::Value(KurzId | MessageId | Vorgangsnummer))
        };
        if !folders.iter().flatten().any(tells_apart) {
            return Err(mistake(
                "Zwei Sendungen bekämen dasselbe Verzeichnis; der Name braucht {kurz_id}, {message_id} oder {vorgangsnummer}",
                "two messages would get the same directory; the name needs {kurz_id}, {message_id} or {vorgangsnummer}",
            ));
        }
        Ok(Self { folders })
    }

    /// Folder names from the outside in; the last one is the Sendung's own.
    pub(crate) fn render(&self, sendung: &Sendung) -> Vec<String> {
        let facts = Facts::of(sendung);
        self.folders
            .iter()
            .map(|pieces| {
                let mut name = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => name.push_str(text),
                        Piece::Value(placeholder) => name.push_str(&facts.value(*placeholder)),
                    }
                }
                if name.len() > LONGEST_NAME {
                    // What is cut off may have been what told two Sendungen apart.
                    name = format!("{}_{}", cut(&name, LONGEST_NAME - 9), facts.short_id());
                }
                sicherer_dateiname(&name)
            })
            .collect()
    }
}

fn folder(text: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            return Err(mistake("Eine geschweifte Klammer ist nicht geschlossen", "a brace is not closed"));
        };
        let Some((_, placeholder)) = PLACEHOLDERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<String> = PLACEHOLDERS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            let known = known.join(" ");
            return Err(mistake(
                format!("Den Platzhalter „{{{name}}}“ gibt es nicht; möglich sind {known}"),
                format!("there is no placeholder \"{{{name}}}\"; possible are {known}"),
            ));
        };
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(Piece::Value(*placeholder));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));

    // A value is never empty and never hidden, so a letter stands for it.
    let shape: String = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Value(_) => "x",
        })
        .collect();
    if shape.contains(['{', '}']) || sicherer_dateiname(&shape) != shape {
        return Err(mistake(
            "Der Name enthält leere Ordner, „..“, Punkte am Rand oder Zeichen, die in Dateinamen nicht möglich sind",
            "the name contains empty folders, \"..\", dots at an edge or characters that file names cannot hold",
        ));
    }
    Ok(pieces)
}

struct Facts<'a> {
    sendung: &'a Sendung,
    /// The day of the Eingang where the Behörde is, as YYYY-MM-DD: the same day as in file names.
    day: String,
}

impl<'a> Facts<'a> {
    fn of(sendung: &'a Sendung) -> Self {
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
        let day = sendung.received_at.to_zoned(zone).date().to_string();
        Self { sendung, day }
    }

    /// The end of the id, because the beginning of a UUIDv7 is the time and alike for neighbours.
    fn short_id(&self) -> String {
        let id = self.sendung.message_id.0.simple().to_string();
        id[id.len() - 8..].to_owned()
    }

    fn value(&self, placeholder: Placeholder) -> String {
        let raw = match placeholder {
            Placeholder::Datum => self.day.clone(),
            Placeholder::Jahr => self.day[..4].to_owned(),
            Placeholder::Monat => self.day[5..7].to_owned(),
            Placeholder::Tag => self.day[8..].to_owned(),
            Placeholder::Vorgangsnummer => self.sendung.vorgangsnummer.clone(),
            Placeholder::MessageId => self.sendung.message_id.to_string(),
            Placeholder::KurzId => self.short_id(),
            Placeholder::Mandant => self.sendung.tenant.to_string(),
            Placeholder::Zuordnung => self.sendung.mapping.clone(),
        };
        // "2026/17" and "2027/17" are different numbers: the slash is replaced, not taken for a folder.
        sicherer_dateiname(cut(&raw.replace(['/', '\\'], "-"), LONGEST_VALUE))
    }
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn mistake(de: impl Into<String>, en: impl Into<String>) -> Mistake {
    Mistake { de: de.into(), en: en.into() }
}

#[cfg(test)]
mod tests {
    use kop_core::{BlobRef, ContentHash, Part, Stage};

    use super::*;

    fn sendung(vorgangsnummer: &str) -> Sendung {
        let blob = BlobRef { sha256: ContentHash::of(b""), size: 0 };
        Sendung {
            tenant: "musterstadt".parse().unwrap(),
            message_id: "01900000-0000-7000-8000-0000abcdef12".parse().unwrap(),
            delivery_id: "01900000-0000-7000-8000-000000000002".parse().unwrap(),
            stage: Stage::Test,
            vorgangsnummer: vorgangsnummer.to_owned(),
            mapping: "bauantrag-xbau".to_owned(),
            // Already the next day, month and year in Berlin.
            received_at: "2026-12-31T23:30:00Z".parse().unwrap(),
            created_at: "2027-01-02T08:00:00Z".parse().unwrap(),
            main: Part { name: "a.xml".to_owned(), content_type: "application/xml".to_owned(), blob },
            parts: Vec::new(),
        }
    }

    fn render(template: &str, number: &str) -> String {
        Template::parse(template).unwrap().render(&sendung(number)).join("/")
    }

    #[test]
    fn every_placeholder_has_its_value() {
        assert_eq!(render("{datum}_{vorgangsnummer}_{kurz_id}", "MUS-1"), "2027-01-01_MUS-1_abcdef12");
        assert_eq!(
            render("{jahr}/{monat}-{tag}/{mandant} {zuordnung}/{message_id}", "MUS-1"),
            "2027/01-01/musterstadt bauantrag-xbau/01900000-0000-7000-8000-0000abcdef12"
        );
    }

    #[test]
    fn values_cannot_leave_their_folder_nor_crowd_out_the_id() {
        assert_eq!(render("{vorgangsnummer}", "../../etc"), "-..-etc");
        assert_eq!(render("{vorgangsnummer}", "2026/17"), "2026-17");
        assert_eq!(render("a/{vorgangsnummer}", ".."), "a/datei");
        assert_eq!(render("{vorgangsnummer}", ""), "datei");
        assert_eq!(render("{vorgangsnummer}", ".versteckt\n"), "versteckt_");
        let long = "ä".repeat(4000);
        assert!(render("{datum}_{vorgangsnummer}_{kurz_id}", &long).ends_with("_abcdef12"));
        let longest = render("{vorgangsnummer}{vorgangsnummer}{vorgangsnummer}", &long);
        assert!(longest.len() <= LONGEST_NAME && longest.ends_with("_abcdef12"), "{longest}");
    }

    #[test]
    fn mistakes_are_found_before_anything_is_delivered() {
        for bad in [
            "{vorgangsnumer}",
            "{kurz_id",
            "kurz_id}",
            "{}",
            "",
            "/{kurz_id}",
            "{kurz_id}/",
            "a//{kurz_id}",
            "../{kurz_id}",
            "{kurz_id}/..",
            ".{kurz_id}",
            "{kurz_id}.",
            "a\\{kurz_id}",
            "a:{kurz_id}",
            "{datum}",
            "{mandant}/{zuordnung}",
            "a/a/a/a/a/a/a/a/{kurz_id}",
        ] {
            assert!(Template::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Template::parse("{vorgangsnumer}").unwrap_err().de.contains("{vorgangsnummer}"));
    }
}
