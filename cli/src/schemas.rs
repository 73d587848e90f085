// SPDX-License-Identifier: EUPL-1.2
//! JSON Schemas of everything that people or other programs write and read as text, so that editors complete
//! and check it. Generated from the types; the copies under `docs/` are held to them by a test.

use serde_json::Value;

use crate::registry;

/// File name and schema of each format.
pub(crate) fn all() -> [(&'static str, Value); 4] {
    let doors = registry::doors();
    [
        ("instanz.schema.json", kop_tenant::instance_schema()),
        ("mandant.schema.json", kop_tenant::mandant_schema(&registry::kinds(), &doors.intakes)),
        ("zuordnung.schema.json", kop_tenant::mapping_schema()),
        ("ablageformat.schema.json", kop_core::eingang::ablageformat_schema()),
    ]
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn the_published_schemas_are_those_of_the_types() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        for (name, schema) in all() {
            let generated = format!("{schema:#}\n");
            let path = docs.join(name);
            if env::var_os("KOP_UPDATE").is_some_and(|wanted| wanted == "1") {
                fs::write(&path, &generated).unwrap();
            }
            let published = fs::read_to_string(&path).unwrap_or_default();
            assert!(published == generated, "docs/{name} ist veraltet: KOP_UPDATE=1 cargo test -p kop-cli");
        }
    }
}
