// SPDX-License-Identifier: EUPL-1.2
//! Which language a person reads: what the command line says, else the locale, else German.

use kop_core::diagnostic::Lang;

/// Chooses from `--lang` and the locale.
pub(crate) fn choose(option: Option<&str>, locale: Option<String>) -> Lang {
    match option {
        Some("en") => Lang::En,
        // `C` and `POSIX` say nothing about a person, so they mean German too.
        None if locale.is_some_and(|locale| locale.starts_with("en")) => Lang::En,
        _ => Lang::De,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn german_unless_someone_says_otherwise() {
        assert_eq!(choose(None, None), Lang::De);
        assert_eq!(choose(None, Some("C.UTF-8".into())), Lang::De);
        assert_eq!(choose(None, Some("en_GB.UTF-8".into())), Lang::En);
        assert_eq!(choose(Some("de"), Some("en_GB.UTF-8".into())), Lang::De);
    }
}
