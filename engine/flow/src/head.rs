// SPDX-License-Identifier: EUPL-1.2
//! The Nachrichtenkopf: identities come from the tenant's configuration, numbers and versions from the schema.
//! Mappings do not write it; what a script returns below `Kopf` (xdomea) is merged over it.

use kop_core::{Stage, Tree, clock::Zeitpunkt};
use kop_tenant::Identity;
use kop_xml::MessageSchema;
use uuid::Uuid;

use crate::ENGINE_VERSION;

/// Name of the product in every head.
pub const PRODUCT: &str = "KOP engine";
/// Its maker, as the heads want one.
pub const MAKER: &str = "Kommunale OZG-Plattform";

/// What a head is made of.
pub struct Head<'a> {
    /// The receiver.
    pub reader: &'a Identity,
    /// The sender.
    pub author: &'a Identity,
    /// The tenant's stage; everything but production is marked as a test.
    pub stage: Stage,
    /// The message's own UUID; for xdomea the ProzessID.
    pub uuid: Uuid,
    /// When the message was made.
    pub created: Zeitpunkt,
}

/// Adds the head that the schema wants to the script's tree.
pub fn add(tree: &mut Tree, schema: &MessageSchema, head: &Head<'_>) {
    if schema.has_child("nachrichtenkopf.g2g") {
        tree.set("nachrichtenkopf.g2g", basisnachricht(schema, head));
    } else if schema.has_child("Kopf") {
        let mut kopf = xdomea(schema, head);
        merge(&mut kopf, tree.get("Kopf"));
        tree.set("Kopf", kopf);
    }
    for (attribute, value) in
        [("@produkt", PRODUCT), ("@produkthersteller", MAKER), ("@produktversion", ENGINE_VERSION)]
    {
        if schema.has_child(attribute) {
            tree.set(attribute, Tree::text(value));
        }
    }
    if head.stage != Stage::Produktion && schema.has_child("@test") {
        tree.set("@test", Tree::text("true"));
    }
}

/// The head of Basisnachricht 1.1 (G2G), as XBau uses it.
fn basisnachricht(schema: &MessageSchema, head: &Head<'_>) -> Tree {
    let party = |identity: &Identity| {
        let directory = identity.verzeichnisdienst.as_ref().map_or(Tree::Nothing, |directory| {
            Tree::map([
                ("@listVersionID", Tree::text(directory.version.as_str())),
                ("code", Tree::text(directory.code.as_str())),
            ])
        });
        Tree::map([
            ("verzeichnisdienst", directory),
            ("kennung", Tree::text(identity.kennung.as_deref().unwrap_or_default())),
            ("name", Tree::text(identity.name.as_str())),
        ])
    };
    Tree::map([
        (
            "identifikation.nachricht",
            Tree::map([
                ("nachrichtenUUID", Tree::text(head.uuid.to_string())),
                ("nachrichtentyp/code", Tree::text(schema.number().unwrap_or_default())),
                ("erstellungszeitpunkt", Tree::text(timestamp(head.created))),
            ]),
        ),
        ("leser", party(head.reader)),
        ("autor", party(head.author)),
    ])
}

/// The head of xdomea 3 (Kopf). Importbestaetigung has a fixed value, which the writer supplies.
fn xdomea(schema: &MessageSchema, head: &Head<'_>) -> Tree {
    let party = |identity: &Identity| Tree::map([("Institution/Name", Tree::text(identity.name.as_str()))]);
    Tree::map([
        ("ProzessID", Tree::text(head.uuid.to_string())),
        ("Nachrichtentyp/code", Tree::text(schema.number().unwrap_or_default())),
        ("Erstellungszeitpunkt", Tree::text(timestamp(head.created))),
        ("Absender", party(head.author)),
        ("Empfaenger", party(head.reader)),
        (
            "SendendesSystem",
            Tree::map([("Produktname", Tree::text(PRODUCT)), ("Version", Tree::text(ENGINE_VERSION))]),
        ),
        ("Empfangsbestaetigung", Tree::Bool(false)),
    ])
}

/// Milliseconds and zone, as the heads demand (`xs:dateTime`).
pub fn timestamp(at: Zeitpunkt) -> String {
    let zone = jiff::tz::TimeZone::get("Europe/Berlin").unwrap_or(jiff::tz::TimeZone::UTC);
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S.%3f%:z").to_string()
}

/// Puts the script's entries over the engine's.
fn merge(base: &mut Tree, over: Option<&Tree>) {
    let Some(Tree::Map(entries)) = over else { return };
    for (key, value) in entries {
        base.set(key, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_carry_milliseconds_and_the_zone_of_the_day() {
        assert_eq!(timestamp("2026-01-15T09:00:00Z".parse().unwrap()), "2026-01-15T10:00:00.000+01:00");
        assert_eq!(timestamp("2026-07-15T09:00:00.25Z".parse().unwrap()), "2026-07-15T11:00:00.250+02:00");
    }

    #[test]
    fn the_script_may_add_to_an_xdomea_head() {
        let mut kopf = Tree::map([("Stapel", Tree::Bool(true)), ("ProzessID", Tree::text("x"))]);
        merge(&mut kopf, Some(&Tree::map([("Stapel", Tree::Bool(false)), ("Hinweis", Tree::text("Eilt"))])));
        assert_eq!(kopf.get("Stapel"), Some(&Tree::Bool(false)));
        assert_eq!(kopf.get("Hinweis"), Some(&Tree::text("Eilt")));
        assert_eq!(kopf.get("ProzessID"), Some(&Tree::text("x")));
    }
}
