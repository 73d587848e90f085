// SPDX-License-Identifier: EUPL-1.2
//! Builds the library of mappings, profile schemas and the smallest example into the binary.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let mut files = Vec::new();
    for folder in ["mappings", "xoev-schemas", "examples/erste-schritte"] {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
        gather(&root.join(folder), &mut files);
    }
    files.sort();
    let mut out = String::from("static LIBRARY: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root).expect("below the root").display().to_string();
        // What a run of the example leaves behind is not part of it.
        if name.contains("/daten/") || name.contains("/ausgang/") {
            continue;
        }
        writeln!(out, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .expect("a string takes it");
    }
    out.push_str("];\n");
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("library.rs");
    fs::write(target, out).expect("the output folder is writable");
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() { gather(&path, files) } else { files.push(path) }
    }
}
