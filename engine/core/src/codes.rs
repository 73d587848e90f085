// SPDX-License-Identifier: EUPL-1.2
//! The pages behind the diagnostic codes: one file per code in `engine/core/codes/`, compiled in.
//!
//! A page begins with `class:` and `severity:` lines, then `## Deutsch` and `## English`, each with a title
//! line and paragraphs: what it means, how it comes about, how to mend it.

use crate::diagnostic::{Class, Lang, Severity};

/// One code's page.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code.
    pub code: &'static str,
    /// Who can mend it.
    pub class: Class,
    /// How bad it is unless said otherwise.
    pub severity: Severity,
    text: &'static str,
}

impl Page {
    /// The explanation in one language, Markdown without the heading.
    pub fn text(&self, lang: Lang) -> &'static str {
        let (_, rest) = self.text.split_once("## Deutsch\n").unwrap_or_default();
        let (german, english) = rest.split_once("## English\n").unwrap_or_default();
        match lang {
            Lang::De => german.trim(),
            Lang::En => english.trim(),
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The page of a code, in any case of letters.
pub fn page(code: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// All pages, sorted by code.
pub fn all() -> &'static [Page] {
    PAGES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_speaks_both_languages() {
        for page in all() {
            for lang in [Lang::De, Lang::En] {
                assert!(page.text(lang).lines().count() >= 3, "{} has no full page in {lang:?}", page.code);
            }
        }
        assert!(page("kop-m002").is_some());
    }
}
