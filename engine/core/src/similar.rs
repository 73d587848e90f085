// SPDX-License-Identifier: EUPL-1.2
//! Near misses of names: what somebody probably meant.

/// Longest name that is compared, in characters.
const LONGEST: usize = 64;

/// Letter changes between two names, case aside.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().chars().take(LONGEST).collect() };
    let (a, b) = (letters(a), letters(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The names nearest to a wrong one, best first, at most three. A name that shares most of its words with the wrong one
/// (`tarif_hund_eins`, `tarif_erster_hund`) comes after those that differ in few letters.
pub fn near<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let length = wrong.chars().take(LONGEST).count();
    if length < 3 {
        // Every short code is near every other one.
        return Vec::new();
    }
    let limit = 1 + length / 4;
    let words = |name: &str| -> Vec<String> {
        name.split(|c: char| !c.is_alphanumeric())
            .filter(|word| word.len() > 2)
            .map(str::to_lowercase)
            .collect()
    };
    let wanted = words(wrong);
    let mut near: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let far = distance(wrong, name);
            if far <= limit {
                return Some((far, name));
            }
            let found = words(name);
            let shared = wanted.iter().filter(|word| found.contains(word)).count();
            (shared >= 2 && 2 * shared > wanted.len()).then_some((1000 - shared, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.truncate(3);
    near.into_iter().map(|(_, name)| name).collect()
}

/// A German question for near misses, `None` when there are none: `Meinten Sie „a“ oder „b“?`
pub fn question(near: &[&str]) -> Option<String> {
    let quoted: Vec<String> = near.iter().map(|name| format!("„{name}“")).collect();
    (!quoted.is_empty()).then(|| format!("Meinten Sie {}?", quoted.join(" oder ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        let names = ["familienname", "vorname", "geburtsdatum"];
        assert_eq!(near("famlienname", names.into_iter()), ["familienname"]);
        assert_eq!(near("Vorname", names.into_iter()), ["vorname"]);
        assert!(near("plz", names.into_iter()).is_empty());
        let names = ["tarif_erster_hund", "tarif_weiterer_hund", "land"];
        assert_eq!(near("tarif_hund_eins", names.into_iter()), ["tarif_erster_hund", "tarif_weiterer_hund"]);
        assert_eq!(question(&["a", "b"]).as_deref(), Some("Meinten Sie „a“ oder „b“?"));
    }
}
