// SPDX-License-Identifier: EUPL-1.2
//! The index of a plain folder, for services without a Fachverfahren: one self-contained HTML page that any
//! browser opens and prints. Data and files lie beside it.
//!
//! The script returns `#{ titel, angaben: [#{bezeichnung, wert}], felder: [#{name, label, text}],
//! dateien: [#{name, beschreibung}], hinweise: [text] }`; every member may be missing.

use std::fmt::Write as _;

use kop_core::Tree;

/// The page, UTF-8.
pub fn render(tree: &Tree) -> Vec<u8> {
    let title = text(tree.get("titel")).unwrap_or_else(|| "Antrag".to_owned());
    let mut page = String::with_capacity(4096);
    let heading = escape(&title);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"de\">\n<head>\n<meta charset=\"utf-8\">\n<title>{heading}</title>\n\
         <style>body{{font-family:sans-serif;max-width:52em;margin:2em auto;padding:0 1em;color:#111}}\
         table{{border-collapse:collapse;width:100%;margin:.5em 0 1.5em}}\
         th,td{{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #bbb}}\
         th{{width:35%;font-weight:600}}.hinweis{{border-left:.3em solid #b00;padding-left:.7em}}\
         td{{white-space:pre-wrap;overflow-wrap:anywhere}}</style>\n</head>\n<body>\n<h1>{heading}</h1>\n"
    );
    for hint in list(tree.get("hinweise")) {
        if let Some(hint) = text(Some(hint)) {
            let _ = writeln!(page, "<p class=\"hinweis\">{}</p>", escape(&hint));
        }
    }
    table(&mut page, "", tree.get("angaben"), |row| {
        Some((text(row.get("bezeichnung"))?, cell(row.get("wert"))))
    });
    table(&mut page, "Angaben im Formular", tree.get("felder"), |row| {
        let name = text(row.get("label")).or_else(|| text(row.get("name")))?;
        Some((name, cell(row.get("text"))))
    });
    let files: Vec<_> =
        list(tree.get("dateien")).iter().filter_map(|file| Some((text(file.get("name"))?, file))).collect();
    if !files.is_empty() {
        page.push_str("<h2>Dateien</h2>\n<table>\n");
        for (name, file) in files {
            let _ = writeln!(
                page,
                "<tr><th scope=\"row\"><a href=\"{}\">{}</a></th><td>{}</td></tr>",
                href(&name),
                escape(&name),
                cell(file.get("beschreibung"))
            );
        }
        page.push_str("</table>\n");
    }
    page.push_str("</body>\n</html>\n");
    page.into_bytes()
}

fn table(
    page: &mut String,
    heading: &str,
    rows: Option<&Tree>,
    cells: impl Fn(&Tree) -> Option<(String, String)>,
) {
    let rows: Vec<_> = list(rows).iter().filter_map(cells).collect();
    if rows.is_empty() {
        return;
    }
    if !heading.is_empty() {
        let _ = writeln!(page, "<h2>{}</h2>", escape(heading));
    }
    page.push_str("<table>\n");
    for (name, value) in rows {
        let _ = writeln!(page, "<tr><th scope=\"row\">{}</th><td>{value}</td></tr>", escape(&name));
    }
    page.push_str("</table>\n");
}

fn list(tree: Option<&Tree>) -> &[Tree] {
    match tree {
        Some(Tree::List(items)) => items,
        _ => &[],
    }
}

fn text(tree: Option<&Tree>) -> Option<String> {
    match tree? {
        Tree::Text(text) if !text.is_empty() => Some(text.to_string()),
        Tree::Bool(value) => Some(if *value { "ja" } else { "nein" }.to_owned()),
        Tree::Int(value) => Some(value.to_string()),
        _ => None,
    }
}

fn cell(tree: Option<&Tree>) -> String {
    escape(&text(tree).unwrap_or_default())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// A relative link to a file in the same folder (RFC 3986 section 3.3).
fn href(name: &str) -> String {
    let mut out = String::from("./");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_citizen_typed_stays_text() {
        let tree = Tree::map([
            ("titel", Tree::text("Fundsache <b>")),
            (
                "felder",
                Tree::List(vec![Tree::map([
                    ("label", Tree::text("Name & Ort")),
                    ("text", Tree::text("<script>alert(1)</script>")),
                ])]),
            ),
            ("dateien", Tree::List(vec![Tree::map([("name", Tree::text("Foto \"1\".pdf"))])])),
        ]);
        let page = String::from_utf8(render(&tree)).unwrap();
        assert!(page.contains("Fundsache &lt;b&gt;") && page.contains("Name &amp; Ort"), "{page}");
        assert!(!page.contains("<script>") && page.contains("./Foto%20%221%22.pdf"), "{page}");
    }
}
