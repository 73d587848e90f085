// SPDX-License-Identifier: EUPL-1.2
//! Regular expressions of XML Schema (part 2, appendix F): reads one, makes texts that match it, and says
//! whether a text matches. Patterns come from foreign schemas, so depth, size and work are bounded.

use std::collections::BTreeSet;

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 64;
/// Longest text made, in characters.
const MAX_TEXT: usize = 20_000;
/// Most steps of one match.
const MAX_STEPS: usize = 2_000_000;
/// Characters taken where a class lets in several, best first.
const PREFERRED: &str = "aAbBcCdeEfgstuxyzXYZ1234567890_-.,:/@+# äöüß";
/// What a class without any preferred character is worth.
const POOR: usize = 1_000;

/// A pattern, ready to use.
#[derive(Debug)]
pub(crate) struct Pattern(Node);

#[derive(Debug)]
enum Node {
    Class(Class),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { inner: Box<Node>, min: u32, max: u32 },
}

#[derive(Debug, Default)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
    kinds: Vec<(Kind, bool)>,
    minus: Option<Box<Class>>,
}

#[derive(Clone, Debug)]
enum Kind {
    Any,
    Space,
    NameStart,
    NameChar,
    Digit,
    Word,
    /// `\p{…}` by its name.
    Property(String),
}

impl Kind {
    fn has(&self, c: char) -> bool {
        match self {
            Self::Any => !matches!(c, '\n' | '\r'),
            Self::Space => matches!(c, ' ' | '\t' | '\n' | '\r'),
            Self::NameStart => c.is_alphabetic() || matches!(c, '_' | ':'),
            Self::NameChar => c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '\u{b7}'),
            Self::Digit => c.is_ascii_digit(),
            Self::Word => c.is_alphanumeric(),
            Self::Property(name) => match name.as_str() {
                "L" => c.is_alphabetic(),
                "Lu" | "Lt" => c.is_uppercase(),
                "Ll" => c.is_lowercase(),
                "N" | "Nd" => c.is_ascii_digit(),
                "Z" | "Zs" => c == ' ',
                "S" | "Sm" => matches!(c, '+' | '<' | '=' | '>'),
                "C" | "Cc" => c.is_control(),
                name if name.starts_with('P') => {
                    c.is_ascii_punctuation() && !matches!(c, '+' | '<' | '=' | '>')
                }
                "IsLatin-1Supplement" => matches!(c, '\u{80}'..='\u{ff}'),
                name if name.starts_with("Is") => c.is_ascii(),
                _ => false,
            },
        }
    }
}

impl Class {
    fn has(&self, c: char) -> bool {
        let inside = self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c))
            || self.kinds.iter().any(|(kind, positive)| kind.has(c) == *positive);
        inside != self.negated && !self.minus.as_ref().is_some_and(|minus| minus.has(c))
    }

    /// Characters to choose from, and what they are worth.
    fn picks(&self) -> (Vec<char>, usize) {
        let good: Vec<char> = PREFERRED.chars().filter(|c| self.has(*c)).collect();
        if let Some(first) = good.first() {
            let worth = PREFERRED.chars().position(|c| c == *first).unwrap_or(POOR);
            return (good, worth);
        }
        let edges = self.ranges.iter().flat_map(|(from, to)| [*from, *to]);
        (edges.filter(|c| self.has(*c)).collect(), POOR)
    }
}

impl Pattern {
    /// Reads a pattern; nothing when it is not one, or goes too deep.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0 };
        let node = reader.either()?;
        (reader.at == reader.chars.len()).then_some(Self(node))
    }

    /// A text that matches, about `extra` characters longer than the shortest; other seeds give other texts.
    pub(crate) fn make(&self, extra: usize, seed: usize) -> Option<String> {
        let mut maker = Maker { out: String::new(), length: 0, extra, seed };
        maker.node(&self.0)?;
        Some(maker.out)
    }

    /// Whether the whole text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let mut steps = 0;
        let ends = ends(&self.0, &chars, &BTreeSet::from([0]), &mut steps);
        ends.contains(&chars.len())
    }
}

/// Where a match that begins at one of the starts may end.
fn ends(node: &Node, text: &[char], starts: &BTreeSet<usize>, steps: &mut usize) -> BTreeSet<usize> {
    *steps += starts.len() + 1;
    if *steps > MAX_STEPS {
        return BTreeSet::new();
    }
    match node {
        Node::Class(class) => {
            let fits = starts.iter().filter(|at| text.get(**at).is_some_and(|c| class.has(*c)));
            fits.map(|at| at + 1).collect()
        }
        Node::Sequence(nodes) => {
            nodes.iter().fold(starts.clone(), |starts, node| ends(node, text, &starts, steps))
        }
        Node::Either(nodes) => nodes.iter().flat_map(|node| ends(node, text, starts, steps)).collect(),
        Node::Repeat { inner, min, max } => {
            let mut now = starts.clone();
            let mut all = if *min == 0 { now.clone() } else { BTreeSet::new() };
            let mut round = 0;
            while round < *max && !now.is_empty() {
                let next = ends(inner, text, &now, steps);
                round += 1;
                if round >= *min {
                    let before = all.len();
                    all.extend(&next);
                    if all.len() == before {
                        break;
                    }
                }
                now = next;
            }
            all
        }
    }
}

/// How good the characters of a node are, and how many it needs at least.
fn worth(node: &Node) -> (usize, usize) {
    match node {
        Node::Class(class) => (class.picks().1, 1),
        Node::Sequence(nodes) => nodes.iter().map(worth).fold((0, 0), |a, b| (a.0.max(b.0), a.1 + b.1)),
        Node::Either(nodes) => nodes.iter().map(worth).min().unwrap_or((POOR, 0)),
        Node::Repeat { min: 0, .. } => (0, 0),
        Node::Repeat { inner, min, .. } => {
            let (worth, length) = worth(inner);
            (worth, length.saturating_mul(*min as usize))
        }
    }
}

struct Maker {
    out: String,
    length: usize,
    extra: usize,
    seed: usize,
}

impl Maker {
    fn choose(&mut self, among: usize) -> usize {
        let chosen = self.seed % among;
        self.seed /= among;
        chosen
    }

    fn node(&mut self, node: &Node) -> Option<()> {
        match node {
            Node::Class(class) => {
                let (picks, _) = class.picks();
                if picks.is_empty() || self.length >= MAX_TEXT {
                    return None;
                }
                let chosen = self.choose(picks.len());
                self.out.push(picks[chosen]);
                self.length += 1;
            }
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.node(node))?,
            Node::Either(nodes) => {
                let mut order: Vec<_> = nodes.iter().map(|node| (worth(node), node)).collect();
                order.sort_by_key(|(worth, _)| *worth);
                let chosen = self.choose(order.len());
                self.node(order[chosen].1)?;
            }
            Node::Repeat { inner, min, max } => {
                for round in 0..*max {
                    if round >= *min && self.extra == 0 {
                        break;
                    }
                    let before = self.length;
                    self.node(inner)?;
                    if round >= *min {
                        self.extra = self.extra.saturating_sub((self.length - before).max(1));
                    }
                }
            }
        }
        Some(())
    }
}

/// What comes after a backslash.
enum Escaped {
    One(char),
    /// A kind of characters, now in the class.
    Kind,
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut branches = vec![self.sequence()?];
        while self.eat('|') {
            branches.push(self.sequence()?);
        }
        self.depth -= 1;
        if branches.len() == 1 { branches.pop() } else { Some(Node::Either(branches)) }
    }

    fn sequence(&mut self) -> Option<Node> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if matches!(c, '|' | ')') {
                break;
            }
            let node = self.atom()?;
            nodes.push(self.repeated(node)?);
        }
        Some(Node::Sequence(nodes))
    }

    fn atom(&mut self) -> Option<Node> {
        let class = match self.next()? {
            '(' => {
                let inner = self.either()?;
                return self.eat(')').then_some(inner);
            }
            '[' => self.class()?,
            '.' => Class { kinds: vec![(Kind::Any, true)], ..Class::default() },
            '\\' => {
                let mut class = Class::default();
                if let Escaped::One(c) = self.escape(&mut class)? {
                    class.ranges.push((c, c));
                }
                class
            }
            '?' | '*' | '+' | '{' | '}' | ']' => return None,
            c => Class { ranges: vec![(c, c)], ..Class::default() },
        };
        Some(Node::Class(class))
    }

    fn repeated(&mut self, node: Node) -> Option<Node> {
        let (min, max) = match self.peek() {
            Some('?') => (0, 1),
            Some('*') => (0, u32::MAX),
            Some('+') => (1, u32::MAX),
            Some('{') => {
                let end = self.chars[self.at..].iter().position(|c| *c == '}')? + self.at;
                let text: String = self.chars[self.at + 1..end].iter().collect();
                self.at = end;
                match text.split_once(',') {
                    None => (text.parse().ok()?, text.parse().ok()?),
                    Some((min, "")) => (min.parse().ok()?, u32::MAX),
                    Some((min, max)) => (min.parse().ok()?, max.parse().ok()?),
                }
            }
            _ => return Some(node),
        };
        self.at += 1;
        Some(Node::Repeat { inner: Box::new(node), min, max })
    }

    /// What comes after a backslash: one character, or a kind of characters that is added to the class.
    fn escape(&mut self, class: &mut Class) -> Option<Escaped> {
        let c = self.next()?;
        let kind = match c.to_ascii_lowercase() {
            'n' if c == 'n' => return Some(Escaped::One('\n')),
            'r' if c == 'r' => return Some(Escaped::One('\r')),
            't' if c == 't' => return Some(Escaped::One('\t')),
            's' => Kind::Space,
            'i' => Kind::NameStart,
            'c' => Kind::NameChar,
            'd' => Kind::Digit,
            'w' => Kind::Word,
            'p' => {
                let end = self.chars[self.at..].iter().position(|c| *c == '}')? + self.at;
                let name = self.chars.get(self.at + 1..end)?.iter().collect();
                self.at = end + 1;
                Kind::Property(name)
            }
            _ if c.is_alphanumeric() => return None,
            _ => return Some(Escaped::One(c)),
        };
        class.kinds.push((kind, c.is_ascii_lowercase()));
        Some(Escaped::Kind)
    }

    /// A class after its opening bracket.
    fn class(&mut self) -> Option<Class> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut class = Class { negated: self.eat('^'), ..Class::default() };
        loop {
            let c = match self.next()? {
                ']' => break,
                '-' if self.peek() == Some('[') => {
                    self.at += 1;
                    class.minus = Some(Box::new(self.class()?));
                    self.eat(']').then_some(())?;
                    break;
                }
                '\\' => match self.escape(&mut class)? {
                    Escaped::One(c) => c,
                    Escaped::Kind => continue,
                },
                c => c,
            };
            let range =
                self.peek() == Some('-') && !matches!(self.chars.get(self.at + 1), Some(']' | '[') | None);
            if !range {
                class.ranges.push((c, c));
                continue;
            }
            self.at += 1;
            let to = match self.next()? {
                '\\' => match self.escape(&mut class)? {
                    Escaped::One(c) => c,
                    Escaped::Kind => return None,
                },
                c => c,
            };
            class.ranges.push((c, to));
        }
        self.depth -= 1;
        Some(class)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn made_texts_match_and_others_do_not() {
        for (pattern, other) in [
            ("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}", "12345678-123"),
            ("([\u{9}-\u{a}]|\u{d}|[ -~]|[\u{a0}-\u{ac}]|A\u{30b}|C(\u{300}|\u{304}))*", "\u{1F600}"),
            (r"[\+\-][1-9][0-9]*", "+0"),
            (r"[,-\.]+|(\i\c*)", " "),
            (r"[^: \n\r\t]+", "a b"),
            (r"[a-z-[aeiou]]{2,3}", "ab"),
            (r"\p{Lu}\p{Ll}{2}\d?", "abc"),
            (r"other:\w{2,}", "other:a"),
            (r"[-a-zA-Z0-9ÄÖ !=+~,;.#°§$%()\[\]]+\.[a-zA-Z0-9]+", "datei"),
            ("", "a"),
        ] {
            let read = Pattern::read(pattern).unwrap_or_else(|| panic!("{pattern}"));
            for (extra, seed) in [(0, 0), (0, 7), (5, 0), (9, 123)] {
                let text = read.make(extra, seed).unwrap();
                assert!(read.matches(&text), "{pattern}: {text:?}");
            }
            assert!(!read.matches(other), "{pattern}: {other:?}");
        }
    }

    #[test]
    fn lengths_and_hostile_patterns() {
        let read = Pattern::read("(a|b)*").unwrap();
        assert_eq!(read.make(12, 0).unwrap().chars().count(), 12);
        assert!(Pattern::read(&"(".repeat(100)).is_none());
        assert!(
            Pattern::read("[a").is_none() && Pattern::read("a{").is_none() && Pattern::read("\\p{").is_none()
        );
        assert!(Pattern::read("(a{60000}){60000}").unwrap().make(0, 0).is_none());
        assert!(!Pattern::read("(a*)*b").unwrap().matches(&"a".repeat(2_000)));
    }
}
