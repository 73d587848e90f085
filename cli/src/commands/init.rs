// SPDX-License-Identifier: EUPL-1.2
//! `kop init`: a new instance with one tenant that works at once: the smallest example and the library of
//! mappings and profile schemas, all of them built into the binary.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use kop_core::diagnostic::Lang;

use crate::published;

include!(concat!(env!("OUT_DIR"), "/library.rs"));

/// Where the example names the schema of its configuration, and where an instance of its own has it.
const SCHEMA_OF_EXAMPLE: &str = "../../../../docs/";
const SCHEMA_OF_INSTANCE: &str = "../../schemata/";

const KOP_TOML: &str = "\
#:schema schemata/instanz.schema.json
# Instanz von KOP engine. Pfade gelten ab diesem Ordner.
[server]
adresse = \"127.0.0.1:8080\"

[daten]
ordner = \"daten\"

[bibliothek]
zuordnungen = \"bibliothek/mappings\"
schemata = \"bibliothek/xoev-schemas\"
";

/// Writes an instance into an empty or new folder.
pub(crate) fn run(folder: &Path, lang: Lang, out: &mut impl Write) -> io::Result<ExitCode> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        let refused = match lang {
            Lang::De => "Der Ordner ist nicht leer; es wurde nichts geändert.",
            Lang::En => "The folder is not empty; nothing was changed.",
        };
        writeln!(io::stderr(), "{refused}")?;
        return Ok(ExitCode::FAILURE);
    }
    let put = |path: &str, bytes: &[u8]| -> io::Result<()> {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)
    };
    put("kop.toml", KOP_TOML.as_bytes())?;
    for (path, bytes) in LIBRARY {
        match path.strip_prefix("examples/erste-schritte/") {
            Some("kop.toml" | "README.md") => {}
            Some(path) if path.starts_with("mandanten/") => {
                let text = String::from_utf8_lossy(bytes);
                put(path, text.replace(SCHEMA_OF_EXAMPLE, SCHEMA_OF_INSTANCE).as_bytes())?;
            }
            Some(path) => put(path, bytes)?,
            None => put(&format!("bibliothek/{path}"), bytes)?,
        }
    }
    for (name, schema) in published::schemas() {
        put(&format!("schemata/{name}"), format!("{schema:#}\n").as_bytes())?;
    }
    let shown = folder.display();
    match lang {
        Lang::De => writeln!(
            out,
            "Instanz angelegt: {shown}\n\nWeiter mit:\n  kop --instanz {shown} check\n  \
             kop --instanz {shown} submit {shown}/eingaenge/fundsache.json\n  kop --instanz {shown} serve"
        )?,
        Lang::En => writeln!(
            out,
            "Instance created: {shown}\n\nNext:\n  kop --instanz {shown} check\n  \
             kop --instanz {shown} submit {shown}/eingaenge/fundsache.json\n  kop --instanz {shown} serve"
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
