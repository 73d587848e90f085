// SPDX-License-Identifier: EUPL-1.2
//! Field paths (Feldpfade): how a mapping, a diagnostic and a person name a field of the form.
//!
//! ```text
//! bauherr/nachname                    group, then field
//! grundstueck/flurstueck[2]/zaehler   second repeat (counted from 1)
//! Flurstückskennzeichen.1             dots, blanks and umlauts need no quoting
//! "a/b"/"x[1]"                        quotes where a name itself holds / [ ] or "
//! "er sagt ""ja"""                    a quote within quotes is doubled
//! ```

use std::{fmt, str::FromStr};

/// One step of a path: a name, and where the field repeats the number of the repeat, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// The raw name as the form vendor sent it.
    pub name: String,
    /// The repeat, from 1; without it the first one is meant.
    pub index: Option<usize>,
}

/// A parsed field path; never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeldPfad(Vec<Step>);

/// The text is no field path; `at` counts characters from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a field path: {reason} (character {})", at + 1)]
pub struct PathError {
    /// What is wrong, in English.
    pub reason: &'static str,
    /// Where.
    pub at: usize,
}

/// Longest accepted path in characters and steps; forms stay far below.
const MAX_CHARS: usize = 2_000;
const MAX_STEPS: usize = 64;

impl FeldPfad {
    /// The steps from the root of the form.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// A path from its steps.
    pub fn from_steps(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// Path of a field below this one.
    #[must_use]
    pub fn child(&self, name: &str, index: Option<usize>) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step { name: name.to_owned(), index });
        Self(steps)
    }
}

impl FromStr for FeldPfad {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let chars: Vec<char> = text.chars().collect();
        let fail = |reason, at| Err(PathError { reason, at });
        if chars.len() > MAX_CHARS {
            return fail("too long", MAX_CHARS);
        }
        let mut steps = Vec::new();
        let mut at = 0;
        loop {
            let mut name = String::new();
            if chars.get(at) == Some(&'"') {
                at += 1;
                loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (Some('"'), Some('"')) => {
                            name.push('"');
                            at += 2;
                        }
                        (Some('"'), _) => {
                            at += 1;
                            break;
                        }
                        (Some(&c), _) => {
                            name.push(c);
                            at += 1;
                        }
                        (None, _) => return fail("the quote is never closed", at),
                    }
                }
            } else {
                while let Some(&c) = chars.get(at) {
                    match c {
                        '/' | '[' => break,
                        ']' | '"' => return fail("this character must stand in quotes", at),
                        c => name.push(c),
                    }
                    at += 1;
                }
            }
            if name.is_empty() {
                return fail("a name is missing", at);
            }
            let mut index = None;
            if chars.get(at) == Some(&'[') {
                let start = at + 1;
                let end = (start..chars.len()).find(|&i| chars[i] == ']');
                let Some(end) = end else { return fail("the bracket is never closed", at) };
                let digits: String = chars[start..end].iter().collect();
                match digits.parse::<usize>() {
                    Ok(n) if n > 0 => index = Some(n),
                    _ => return fail("repeats are numbered from 1", start),
                }
                at = end + 1;
            }
            steps.push(Step { name, index });
            if steps.len() > MAX_STEPS {
                return fail("too many steps", at);
            }
            match chars.get(at) {
                None => return Ok(Self(steps)),
                Some('/') => at += 1,
                Some(_) => return fail("a slash is missing", at),
            }
        }
    }
}

impl fmt::Display for FeldPfad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("/")?;
            }
            if step.name.contains(['/', '[', ']', '"']) {
                write!(f, "\"{}\"", step.name.replace('"', "\"\""))?;
            } else {
                f.write_str(&step.name)?;
            }
            if let Some(index) = step.index {
                write!(f, "[{index}]")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_as_vendors_write_them() {
        for text in [
            "bauherr/nachname",
            "grundstueck/flurstueck[2]/zaehler",
            "Flurstückskennzeichen.1",
            "Angemeldete Tätigkeit/Zahl der gesetzlichen Verteter",
            "\"a/b\"/\"x[1]\"[3]",
            "\"er sagt \"\"ja\"\"\"",
        ] {
            assert_eq!(text.parse::<FeldPfad>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, at) in
            [("", 0), ("a//b", 2), ("a[0]", 2), ("a[1", 1), ("\"a", 2), ("a]b", 1), ("a[1]b", 4)]
        {
            assert_eq!(text.parse::<FeldPfad>().unwrap_err().at, at, "{text}");
        }
    }
}
