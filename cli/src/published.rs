// SPDX-License-Identifier: EUPL-1.2
//! Generated documents: JSON Schemas of everything that people or other programs write and read as text, so that
//! editors complete and check it, and the reference of what a script can call. The copies under `docs/` are held to
//! them by a test.

use serde_json::Value;

use crate::registry;

/// File name and schema of each format.
pub(crate) fn schemas() -> [(&'static str, Value); 4] {
    let doors = registry::doors();
    [
        ("instanz.schema.json", kop_tenant::instance_schema(&registry::scanners(), kop_web::otlp::schema())),
        ("mandant.schema.json", {
            let (kinds, sources) = (registry::kinds(), registry::sources());
            kop_tenant::mandant_schema(&kinds, &doors.intakes, &sources)
        }),
        ("zuordnung.schema.json", kop_tenant::mapping_schema()),
        ("ablageformat.schema.json", kop_core::eingang::ablageformat_schema()),
    ]
}

#[cfg(test)]
mod tests {
    use std::{env, fmt::Write, fs, path::Path};

    use super::*;

    fn functions() -> String {
        let mut text = String::from(
            "# Was ein Skript aufrufen kann\n\nErzeugt aus dem Programm; wie man damit arbeitet, steht im \
             [Handbuch](mapping-handbuch.md).\n",
        );
        for function in kop_mapping::functions() {
            let (signature, doc, example) = (function.signature, function.doc_de, function.example);
            write!(text, "\n**`{signature}`**\n{doc}\n\n```rhai\n{example}\n```\n").unwrap();
        }
        text
    }

    #[test]
    fn the_published_documents_are_those_of_the_program() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut all: Vec<_> =
            schemas().into_iter().map(|(name, schema)| (name, format!("{schema:#}\n"))).collect();
        all.push(("funktionen.md", functions()));
        for (name, generated) in all {
            let path = docs.join(name);
            if env::var_os("KOP_UPDATE").is_some_and(|wanted| wanted == "1") {
                fs::write(&path, &generated).unwrap();
            }
            let published = fs::read_to_string(&path).unwrap_or_default();
            assert!(published == generated, "docs/{name} ist veraltet: KOP_UPDATE=1 cargo test -p kop-cli");
        }
    }

    #[test]
    fn the_manual_leaves_out_no_function() {
        let manual =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mapping-handbuch.md"));
        let manual = manual.unwrap();
        let missing: Vec<_> = kop_mapping::functions()
            .iter()
            .map(|function| function.name)
            .filter(|name| !manual.contains(&format!("{name}(")) && !manual.contains(&format!(".{name}`")))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
