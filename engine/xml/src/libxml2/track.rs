// SPDX-License-Identifier: EUPL-1.2
//! Where a stream stands: the open elements, their places among their siblings, text and attributes of the
//! current one. A stream has no nodes to ask, so a violation is placed here. Safe code; knows no libxml2.
//!
//! Whether an element repeats is only known when its next sibling of that name comes, or its parent ends; so
//! a violation keeps its elements by number and is finished afterwards.

use std::collections::HashMap;

use super::{MAX_TEXT, MAX_VIOLATIONS, Violation, attribute_in};

/// Tables of more entries are not kept for the next element of the level (clearing costs their capacity).
const MAX_KEPT: usize = 64;

/// An open element; the frame of a level is used again and again.
#[derive(Default)]
struct Frame {
    /// Stands for the local name; equal names have equal ones within a document.
    id: usize,
    name: Vec<u8>,
    /// Position in the document.
    number: u64,
    /// How many element children its parent had before it.
    place: u32,
    /// Its number among the siblings of its name, from 1.
    repeat: u32,
    children: u32,
    same: HashMap<usize, u32>,
    /// A violation lies in it: the following children may tell that one on its path repeats.
    broken: bool,
}

/// An element on the path of a violation.
struct Link {
    id: usize,
    name: String,
    number: u64,
    place: u32,
    repeat: u32,
    repeats: bool,
}

struct Found {
    violation: Violation,
    links: Vec<Link>,
}

/// The place in a document that is being read.
#[derive(Default)]
pub(super) struct Track {
    frames: Vec<Frame>,
    depth: usize,
    /// The innermost element has ended, but what libxml2 says about its end still belongs to it.
    ended: bool,
    elements: u64,
    text: Vec<u8>,
    /// The innermost element has had no element children, so `text` is all of its text.
    plain: bool,
    /// Names and values of the attributes one after the other, and where each ends.
    attributes: Vec<u8>,
    attribute_ends: Vec<usize>,
    found: Vec<Found>,
}

impl Track {
    pub(super) fn depth(&self) -> usize {
        self.depth - usize::from(self.ended)
    }

    /// A start tag. `id` stands for the local name.
    pub(super) fn start(&mut self, id: usize, name: &[u8]) {
        self.close();
        let (mut place, mut repeat) = (0, 1);
        if let Some(parent) = self.frames[..self.depth].last_mut() {
            place = parent.children;
            parent.children += 1;
            let count = parent.same.entry(id).or_default();
            *count += 1;
            repeat = *count;
            if parent.broken && repeat == 2 {
                let (level, number) = (self.depth - 1, parent.number);
                for found in &mut self.found {
                    if found.links.get(level).is_some_and(|link| link.number == number)
                        && let Some(link) = found.links.get_mut(level + 1).filter(|link| link.id == id)
                    {
                        link.repeats = true;
                    }
                }
            }
        }
        if self.frames.len() == self.depth {
            self.frames.push(Frame::default());
        }
        let frame = &mut self.frames[self.depth];
        if frame.same.capacity() > MAX_KEPT {
            frame.same = HashMap::new();
        }
        frame.same.clear();
        frame.name.clear();
        frame.name.extend_from_slice(&name[..name.len().min(MAX_TEXT)]);
        (frame.id, frame.place, frame.repeat) = (id, place, repeat);
        (frame.number, frame.children, frame.broken) = (self.elements, 0, false);
        self.elements += 1;
        self.depth += 1;
        self.plain = true;
        self.text.clear();
        self.attributes.clear();
        self.attribute_ends.clear();
    }

    /// An attribute of the start tag that was just given.
    pub(super) fn attribute(&mut self, name: &[u8], value: &[u8]) {
        for part in [name, value] {
            self.attributes.extend_from_slice(&part[..part.len().min(MAX_TEXT)]);
            self.attribute_ends.push(self.attributes.len());
        }
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        self.close();
        let room = MAX_TEXT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&text[..text.len().min(room)]);
    }

    pub(super) fn end(&mut self) {
        self.close();
        self.ended = true;
    }

    fn close(&mut self) {
        if self.ended {
            self.ended = false;
            self.depth -= 1;
            self.plain = false;
        }
    }

    /// A violation at the current place. False: there are enough.
    pub(super) fn violation(&mut self, code: i32, message: String) -> bool {
        if self.found.len() >= MAX_VIOLATIONS {
            return false;
        }
        let depth = self.depth - usize::from(self.is_about_parent(&message));
        let innermost = depth == self.depth;
        let (attribute, value) = match attribute_in(&message) {
            Some(name) => (Some(name.to_owned()), self.value_of(name)),
            None => (None, (innermost && self.plain && !self.text.is_empty()).then(|| lossy(&self.text))),
        };
        let open = &mut self.frames[..depth];
        let links = open.iter_mut().map(|frame| {
            frame.broken = true;
            Link {
                id: frame.id,
                name: lossy(&frame.name),
                number: frame.number,
                place: frame.place,
                repeat: frame.repeat,
                repeats: frame.repeat > 1,
            }
        });
        let links = links.collect();
        let violation = Violation { code, message, steps: Vec::new(), path: String::new(), attribute, value };
        self.found.push(Found { violation, links });
        self.found.len() < MAX_VIOLATIONS
    }

    /// That an element must not have element children is said when its first one starts.
    fn is_about_parent(&self, message: &str) -> bool {
        let [.., parent, innermost] = &self.frames[..self.depth] else { return false };
        let named = message.strip_prefix("Element '").and_then(|rest| rest.split_once('\''));
        let named = named.map(|(name, _)| name.rsplit('}').next().unwrap_or(name).as_bytes());
        named.is_some_and(|name| name != innermost.name && name == parent.name)
    }

    fn value_of(&self, name: &str) -> Option<String> {
        let mut start = 0;
        let mut parts = self.attribute_ends.iter().map(|end| {
            let part = &self.attributes[start..*end];
            start = *end;
            part
        });
        while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
            if key == name.as_bytes() {
                // libxml2 gives an ampersand to SAX handlers as a reference
                return Some(lossy(value).replace("&#38;", "&"));
            }
        }
        None
    }

    /// All violations, with their paths below the root.
    pub(super) fn finish(self) -> Vec<Violation> {
        let finished = self.found.into_iter().map(|Found { mut violation, links }| {
            let below = links.get(1..).unwrap_or_default();
            violation.steps = below.iter().map(|link| link.place).collect();
            let names = below.iter().map(|link| {
                if link.repeats { format!("{}[{}]", link.name, link.repeat) } else { link.name.clone() }
            });
            violation.path = names.collect::<Vec<_>>().join("/");
            violation
        });
        finished.collect()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_elements_repeats_are_known_afterwards() {
        let mut track = Track::default();
        track.start(1, b"r");
        track.start(2, b"a");
        track.start(3, b"b");
        track.text(b"x");
        track.end();
        assert!(track.violation(1824, "Element 'b': 'x' is not valid.".into()));
        track.end();
        track.start(4, b"c");
        track.attribute(b"l", b"1");
        track.violation(1824, "Element 'c', attribute '{urn:x}l': '1' is not valid.".into());
        track.end();
        track.start(2, b"a");
        track.end();
        track.violation(1871, "Element 'a': Missing child element(s).".into());
        track.end();
        let found = track.finish();
        let paths: Vec<_> = found.iter().map(|one| (one.path.as_str(), one.steps.as_slice())).collect();
        assert_eq!(paths, [("a[1]/b", [0, 0].as_slice()), ("c", [1].as_slice()), ("a[2]", [2].as_slice())]);
        let values: Vec<_> = found.iter().map(|one| one.value.as_deref()).collect();
        assert_eq!(values, [Some("x"), Some("1"), None]);
        assert_eq!(found[1].attribute.as_deref(), Some("l"));
    }
}
