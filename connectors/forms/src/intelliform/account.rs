// SPDX-License-Identifier: EUPL-1.2
//! The user who was logged in: from the `u:` attributes of the data document, or from the raw form's `user`
//! block.

use kop_core::eingang::{Person, ServiceKonto, Vertrauensniveau};

use super::{NS_TRANSACTION, NS_USER, envelope::Deposit};
use crate::xml::Element;

/// The login as the vendor names its facts.
pub(super) struct User<'a> {
    data: &'a Element,
    raw: Option<&'a Element>,
}

impl<'a> User<'a> {
    /// From the document that was read, and the raw form where there is one.
    pub(super) fn of(data: &'a Element, raw: Option<&'a Element>) -> Self {
        Self { data, raw: raw.and_then(|raw| raw.child("user")) }
    }

    fn fact(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| {
            self.data
                .attribute(NS_USER, name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .or_else(|| self.raw.and_then(|raw| raw.child_text(name)))
        })
    }

    /// The person, where the login says who it is.
    pub(super) fn person(&self) -> Option<Person> {
        let person = Person {
            titel: self.fact(&["personalTitle"]),
            vorname: self.fact(&["givenName", "handelndePersonVorname"]),
            nachname: self.fact(&["surname", "handelndePersonNachname"]),
            geburtsname: self.fact(&["birthName"]),
            geburtsdatum: self.fact(&["birthdate"]),
            geburtsort: self.fact(&["placeOfBirth"]),
            firma: self.fact(&["organizationName", "companyName"]),
            strasse: self.fact(&["postalAddress"]),
            plz: self.fact(&["postalCode"]),
            ort: self.fact(&["localityName"]),
            land: self.fact(&["country"]),
            email: self.fact(&["mail", "EmailAddress"]),
            telefon: self.fact(&["telephoneNumber"]),
            ..Person::default()
        };
        (person != Person::default()).then_some(person)
    }

    /// The account and its trust level; `None` without a login.
    pub(super) fn account(&self, deposit: &Deposit) -> Option<ServiceKonto> {
        let source = self.fact(&["accountSource"]);
        let postbox = self.fact(&["legacyPostkorbHandle", "postOfficeBox", "postkorbHandle"]);
        let level = self.fact(&["authlevel"]);
        if source.is_none() && postbox.is_none() && level.is_none() && self.fact(&["username"]).is_none() {
            return None;
        }
        let raw = level.or_else(|| {
            self.data
                .attribute(NS_TRANSACTION, "effective-login-level")
                .or_else(|| deposit.parameter("X-intelliForm-effective-login-level"))
                .map(str::to_owned)
        });
        let source = source.unwrap_or_else(|| "unbekannt".to_owned());
        Some(ServiceKonto {
            art: match source.to_lowercase().as_str() {
                "bayernid" => "BAYERN_ID".to_owned(),
                "bundid" => "BUNDID".to_owned(),
                "osi" | "servicekonto" => "OSI".to_owned(),
                _ => source,
            },
            vertrauensniveau: raw.as_deref().map(Vertrauensniveau::from_raw).unwrap_or_default(),
            vertrauensniveau_roh: raw,
            postfach_id: postbox,
            postfach_art: None,
        })
    }
}
