// SPDX-License-Identifier: EUPL-1.2
//! Turns the folder of code pages into one sorted slice, so that adding a page needs no list to be edited.

use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    let dir = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("codes");
    println!("cargo:rerun-if-changed={}", dir.display());
    let mut names: Vec<String> = fs::read_dir(&dir)
        .expect("the folder of code pages")
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"))
        .collect();
    names.sort();
    let mut out = String::from("static PAGES: &[Page] = &[\n");
    for name in names {
        let path = dir.join(&name);
        println!("cargo:rerun-if-changed={}", path.display());
        let text = fs::read_to_string(&path).expect("a readable page");
        let head = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_else(|| panic!("{name} lacks its line '{key}'"))
                .trim()
                .to_owned()
        };
        let variant = |word: &str| word[..1].to_uppercase() + &word[1..];
        writeln!(
            out,
            "    Page {{ code: {:?}, class: Class::{}, severity: Severity::{}, text: include_str!({:?}) }},",
            name.trim_end_matches(".md"),
            variant(&head("class:")),
            variant(&head("severity:")),
            path.display().to_string(),
        )
        .expect("a string takes whatever is written");
    }
    out.push_str("];\n");
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("pages.rs");
    fs::write(target, out).expect("the output folder is writable");
}
