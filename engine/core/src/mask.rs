// SPDX-License-Identifier: EUPL-1.2
//! Hides personal data where a person did not ask to see it.

/// Replaces every letter by `x` and every digit by `9`; shape, length and punctuation stay, because they are
/// what an engineer needs to find a wrong date or a name that is too long. At most 40 characters.
pub fn mask(value: &str) -> String {
    let mut masked: String = value
        .chars()
        .take(40)
        .map(|c| match c {
            c if c.is_numeric() => '9',
            c if c.is_uppercase() => 'X',
            c if c.is_alphabetic() => 'x',
            c if c.is_ascii() && !c.is_control() => c,
            _ => '?',
        })
        .collect();
    if value.chars().count() > 40 {
        masked.push('…');
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn keeps_the_shape_and_nothing_else() {
        assert_eq!(mask("Jörg Müller-Łuk, 12.03.1980"), "Xxxx Xxxxxx-Xxx, 99.99.9999");
        assert_eq!(mask(&"a".repeat(50)), format!("{}…", "x".repeat(40)));
    }
}
