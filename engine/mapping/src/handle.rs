// SPDX-License-Identifier: EUPL-1.2
//! The read-only handle `eingang` and its parts: a place in the submission and what stands there.

use std::{borrow::Cow, sync::Arc};

use kop_core::{
    Eingang, Feld, FeldPfad, Inhalt, Wert,
    eingang::{Anlage, Person},
};

use crate::input::FileList;

/// A part of the submission: the whole form, a group, one repeat, a field, or a section of the head.
#[derive(Clone)]
pub(crate) struct Teil {
    pub(crate) eingang: Arc<Eingang>,
    /// Full path for messages and recorded reads; empty for the whole form.
    pub(crate) pfad: Arc<str>,
    ort: Ort,
}

/// Where a part is.
#[derive(Clone)]
enum Ort {
    /// In the form: number of the field and of the repeat at every step. Empty: the whole form.
    Form(Arc<[Schritt]>),
    /// Outside the form's fields.
    Kopf(Abschnitt),
    /// Not there.
    Nirgends,
}

#[derive(Clone, Copy)]
struct Schritt {
    feld: u32,
    wiederholung: Option<u32>,
}

/// Sections of the head that read like a group of fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Abschnitt {
    Antragsteller,
    VertretenePerson,
    ZustaendigeStelle,
    Zahlung,
    ServiceKonto,
    Zusatz,
}

/// A file handle.
#[derive(Clone)]
pub(crate) struct Datei {
    pub(crate) eingang: Arc<Eingang>,
    pub(crate) list: FileList,
    pub(crate) index: usize,
}

/// What a path led to.
pub(crate) enum Ziel<'a> {
    Feld(&'a Feld),
    Kopf(Cow<'a, str>),
}

/// Why a path led nowhere.
pub(crate) enum Fehlt<'a> {
    /// The form did not send it, or not filled.
    Leer,
    /// The text is no path.
    KeinPfad(kop_core::path::PathError),
    /// The section of the head has no such entry, ever.
    Unbekannt(&'a [&'static str]),
}

impl Datei {
    pub(crate) fn anlage(&self) -> Option<&Anlage> {
        match self.list {
            FileList::Anlagen => self.eingang.anlagen.get(self.index),
            FileList::Repraesentationen => self.eingang.repraesentationen.get(self.index),
        }
    }
}

impl Teil {
    pub(crate) fn root(eingang: Arc<Eingang>) -> Self {
        thread_local! {
            static EMPTY: (Arc<str>, Arc<[Schritt]>) = ("".into(), Arc::new([]));
        }
        let (pfad, steps) = EMPTY.with(Clone::clone);
        Self { eingang, pfad, ort: Ort::Form(steps) }
    }

    pub(crate) fn kopf(&self, abschnitt: Abschnitt) -> Self {
        Self {
            eingang: Arc::clone(&self.eingang),
            pfad: format!("@{}", abschnitt.name()).into(),
            ort: Ort::Kopf(abschnitt),
        }
    }

    /// The field that this part is, and the repeat's fields when it is one; `None` for the whole form.
    fn here(&self) -> Option<(&Feld, Option<&[Feld]>)> {
        let Ort::Form(steps) = &self.ort else { return None };
        let mut level: &[Feld] = &self.eingang.form_data;
        let mut found = None;
        for step in steps.iter() {
            let feld = level.get(step.feld as usize)?;
            let repeat = match (&feld.inhalt, step.wiederholung) {
                (Inhalt::Wiederholungen(repeats), Some(n)) => repeats.get(n as usize).map(Vec::as_slice),
                _ => None,
            };
            level = repeat.unwrap_or_else(|| below(feld));
            found = Some((feld, repeat));
        }
        found
    }

    /// Fields below this part.
    pub(crate) fn fields(&self) -> &[Feld] {
        match &self.ort {
            Ort::Form(steps) if steps.is_empty() => &self.eingang.form_data,
            Ort::Form(_) => self.here().map_or(&[], |(feld, repeat)| repeat.unwrap_or_else(|| below(feld))),
            _ => &[],
        }
    }

    /// All repeats, when this part is a repeated group as a whole.
    pub(crate) fn repeats(&self) -> Option<&[Vec<Feld>]> {
        match self.here() {
            Some((Feld { inhalt: Inhalt::Wiederholungen(repeats), .. }, None)) => Some(repeats),
            _ => None,
        }
    }

    /// The field itself, when this part is one.
    pub(crate) fn feld(&self) -> Option<&Feld> {
        self.here().map(|(feld, _)| feld)
    }

    /// Follows a path from here.
    pub(crate) fn find(&self, path: &str) -> Result<Ziel<'_>, Fehlt<'static>> {
        match &self.ort {
            Ort::Form(_) => match walk(self.fields(), path, None) {
                Ok(Some(feld)) => Ok(Ziel::Feld(feld)),
                Ok(None) => Err(Fehlt::Leer),
                Err(error) => Err(Fehlt::KeinPfad(error)),
            },
            Ort::Kopf(abschnitt) => abschnitt.value(&self.eingang, path),
            Ort::Nirgends => Err(Fehlt::Leer),
        }
    }

    /// The part at a path; a part that is nowhere when there is none.
    pub(crate) fn part(&self, path: &str) -> Result<Self, kop_core::path::PathError> {
        let (steps, found) = self.steps_to(path)?;
        let ort = if found { Ort::Form(steps.into()) } else { Ort::Nirgends };
        Ok(Self { eingang: Arc::clone(&self.eingang), pfad: self.below(path), ort })
    }

    /// The parts at a path: every repeat, the one group, or none.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Self>, kop_core::path::PathError> {
        let (steps, found) = self.steps_to(path)?;
        if !found {
            return Ok(Vec::new());
        }
        let whole = Self {
            eingang: Arc::clone(&self.eingang),
            pfad: self.below(path),
            ort: Ort::Form(steps.clone().into()),
        };
        let repeats = match whole.here() {
            // A path that names one repeat means that one.
            Some((Feld { inhalt: Inhalt::Wiederholungen(repeats), .. }, _)) if !path.ends_with(']') => {
                repeats.len()
            }
            Some((feld, _)) => return Ok(if filled(feld) { vec![whole] } else { Vec::new() }),
            None => return Ok(Vec::new()),
        };
        Ok((0..repeats)
            .map(|n| {
                let mut steps = steps.clone();
                if let Some(last) = steps.last_mut() {
                    last.wiederholung = u32::try_from(n).ok();
                }
                Self {
                    eingang: Arc::clone(&self.eingang),
                    pfad: format!("{}[{}]", whole.pfad, n + 1).into(),
                    ort: Ort::Form(steps.into()),
                }
            })
            .collect())
    }

    fn steps_to(&self, path: &str) -> Result<(Vec<Schritt>, bool), kop_core::path::PathError> {
        let Ort::Form(here) = &self.ort else { return Ok((Vec::new(), false)) };
        let mut steps = here.to_vec();
        let found = walk(self.fields(), path, Some(&mut steps))?.is_some();
        Ok((steps, found))
    }

    fn below(&self, path: &str) -> Arc<str> {
        crate::run::full_path(&self.pfad, path).into()
    }

    /// Whether this part exists and holds anything.
    pub(crate) fn filled(&self) -> bool {
        match &self.ort {
            Ort::Form(steps) if steps.is_empty() => true,
            Ort::Form(_) => match self.here() {
                Some((_, Some(repeat))) => repeat.iter().any(filled),
                Some((feld, None)) => filled(feld),
                None => false,
            },
            Ort::Kopf(_) => true,
            Ort::Nirgends => false,
        }
    }
}

/// Fields of a group, or of the first repeat.
fn below(feld: &Feld) -> &[Feld] {
    match &feld.inhalt {
        Inhalt::Wert(_) => &[],
        Inhalt::Felder(fields) => fields,
        Inhalt::Wiederholungen(repeats) => repeats.first().map_or(&[], Vec::as_slice),
    }
}

/// Whether a field or anything below it has a value. Forms nest a few levels; the intake bounds the depth.
pub(crate) fn filled(feld: &Feld) -> bool {
    match &feld.inhalt {
        Inhalt::Wert(wert) => !wert.text.trim().is_empty() || wert.anlage.is_some(),
        Inhalt::Felder(fields) => fields.iter().any(filled),
        Inhalt::Wiederholungen(repeats) => repeats.iter().flatten().any(filled),
    }
}

/// The value of a field without blanks around it; `None` when empty.
pub(crate) fn text_of(wert: &Wert) -> Option<&str> {
    Some(wert.text.trim()).filter(|text| !text.is_empty())
}

/// Follows a path as [`kop_core::feld::finde`] does, without parsing it first when it holds plain names only.
fn walk<'a>(
    fields: &'a [Feld],
    path: &str,
    record: Option<&mut Vec<Schritt>>,
) -> Result<Option<&'a Feld>, kop_core::path::PathError> {
    let plain = !path.contains(['[', ']', '"']) && path.split('/').all(|name| !name.is_empty());
    if plain && path.len() <= 2_000 {
        return Ok(follow(fields, path.split('/').map(|name| (name, None)), record));
    }
    let parsed: FeldPfad = path.parse()?;
    Ok(follow(fields, parsed.steps().iter().map(|step| (step.name.as_str(), step.index)), record))
}

fn follow<'a, 'p>(
    mut level: &'a [Feld],
    steps: impl Iterator<Item = (&'p str, Option<usize>)>,
    mut record: Option<&mut Vec<Schritt>>,
) -> Option<&'a Feld> {
    let mut found = None;
    for (name, index) in steps {
        let at = level.iter().position(|feld| feld.name == name)?;
        let feld = &level[at];
        let repeat = match (&feld.inhalt, index) {
            (Inhalt::Wiederholungen(repeats), Some(n)) => {
                level = repeats.get(n.checked_sub(1)?)?;
                u32::try_from(n - 1).ok()
            }
            (_, Some(n)) if n > 1 => return None,
            _ => {
                level = below(feld);
                None
            }
        };
        if let Some(record) = record.as_deref_mut() {
            record.push(Schritt { feld: u32::try_from(at).ok()?, wiederholung: repeat });
        }
        found = Some(feld);
    }
    found
}

const PERSON: &[&str] = &[
    "anrede",
    "titel",
    "vorname",
    "nachname",
    "geburtsname",
    "geburtsdatum",
    "geburtsort",
    "firma",
    "strasse",
    "hausnummer",
    "plz",
    "ort",
    "land",
    "email",
    "telefon",
];

impl Abschnitt {
    fn name(self) -> &'static str {
        match self {
            Self::Antragsteller => "antragsteller",
            Self::VertretenePerson => "vertretene_person",
            Self::ZustaendigeStelle => "zustaendige_stelle",
            Self::Zahlung => "zahlung",
            Self::ServiceKonto => "service_konto",
            Self::Zusatz => "zusatz",
        }
    }

    /// Names that the section may have; empty when any may occur.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Antragsteller | Self::VertretenePerson => PERSON,
            Self::ZustaendigeStelle => &["organisationseinheit", "ags", "ars", "name"],
            Self::Zahlung => &["betrag", "waehrung", "kassenzeichen", "transaktion", "status"],
            Self::ServiceKonto => {
                &["art", "vertrauensniveau", "vertrauensniveau_roh", "postfach_id", "postfach_art"]
            }
            Self::Zusatz => &[],
        }
    }

    fn value<'a>(self, eingang: &'a Eingang, name: &str) -> Result<Ziel<'a>, Fehlt<'static>> {
        let names = self.names();
        if !names.is_empty() && !names.contains(&name) {
            return Err(Fehlt::Unbekannt(names));
        }
        let text: Option<Cow<'a, str>> = match self {
            Self::Antragsteller => person(eingang.antragsteller.as_ref(), name),
            Self::VertretenePerson => person(eingang.vertretene_person.as_ref(), name),
            Self::ZustaendigeStelle => {
                let stelle = &eingang.zustaendige_stelle;
                match name {
                    "organisationseinheit" => stelle.organisationseinheit.as_deref(),
                    "ags" => stelle.ags.as_deref(),
                    "ars" => stelle.ars.as_deref(),
                    _ => stelle.name.as_deref(),
                }
                .map(Cow::Borrowed)
            }
            Self::Zahlung => eingang.zahlung.as_ref().and_then(|zahlung| {
                match name {
                    "betrag" => zahlung.betrag.as_deref(),
                    "waehrung" => zahlung.waehrung.as_deref(),
                    "kassenzeichen" => zahlung.kassenzeichen.as_deref(),
                    "transaktion" => zahlung.transaktion.as_deref(),
                    _ => zahlung.status.as_deref(),
                }
                .map(Cow::Borrowed)
            }),
            Self::ServiceKonto => eingang.service_konto.as_ref().and_then(|konto| match name {
                "art" => Some(Cow::Borrowed(konto.art.as_str())),
                "vertrauensniveau" => {
                    Some(Cow::Owned(format!("{:?}", konto.vertrauensniveau).to_lowercase()))
                }
                "vertrauensniveau_roh" => konto.vertrauensniveau_roh.as_deref().map(Cow::Borrowed),
                "postfach_id" => konto.postfach_id.as_deref().map(Cow::Borrowed),
                _ => konto.postfach_art.as_deref().map(Cow::Borrowed),
            }),
            Self::Zusatz => eingang.kopf.zusatz.get(name).map(|text| Cow::Borrowed(text.as_str())),
        };
        text.map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            owned @ Cow::Owned(_) => owned,
        })
        .filter(|text| !text.is_empty())
        .map(Ziel::Kopf)
        .ok_or(Fehlt::Leer)
    }
}

fn person<'a>(person: Option<&'a Person>, name: &str) -> Option<Cow<'a, str>> {
    let person = person?;
    match name {
        "anrede" => &person.anrede,
        "titel" => &person.titel,
        "vorname" => &person.vorname,
        "nachname" => &person.nachname,
        "geburtsname" => &person.geburtsname,
        "geburtsdatum" => &person.geburtsdatum,
        "geburtsort" => &person.geburtsort,
        "firma" => &person.firma,
        "strasse" => &person.strasse,
        "hausnummer" => &person.hausnummer,
        "plz" => &person.plz,
        "ort" => &person.ort,
        "land" => &person.land,
        "email" => &person.email,
        _ => &person.telefon,
    }
    .as_deref()
    .map(Cow::Borrowed)
}
