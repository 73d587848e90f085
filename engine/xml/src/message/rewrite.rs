// SPDX-License-Identifier: EUPL-1.2
//! Rewrites a foreign document while it is read, so that libxml2 never sees a foreign byte: only start tags, end
//! tags and text come out, in UTF-8 and escaped by us. DOCTYPE, own entities, other encodings and absurd sizes
//! are refused here; comments and processing instructions are left out. Lines stay where they were.

use std::io::{self, BufRead, BufReader, Read};

use quick_xml::{
    Reader, XmlVersion,
    errors::{Error, IllFormedError, SyntaxError},
    escape::resolve_predefined_entity,
    events::{BytesDecl, BytesStart, Event},
};

use crate::libxml2::Unreadable;

/// Largest document.
const MAX_BYTES: u64 = 512 << 20;
/// Longest tag, text or comment.
const MAX_PIECE: u64 = 10 << 20;
/// Deepest nesting; what the writer and the reader allow too.
const MAX_DEPTH: usize = 100;
/// Most attributes of one element, name space declarations included.
const MAX_ATTRIBUTES: usize = 256;
/// Bytes read at once.
const CHUNK: usize = 32 << 10;

/// A reader of the rewritten document.
pub(crate) struct Rewriter<R: Read> {
    reader: Reader<Counted<BufReader<R>>>,
    piece: Vec<u8>,
    written: Written,
    /// How much of what is written was read.
    taken: usize,
    ended: bool,
    refused: Option<Unreadable>,
}

/// What was rewritten and not yet read, and where it stands.
struct Written {
    bytes: Vec<u8>,
    /// Line ends so far, whether still in `bytes` or not.
    lines: u64,
    depth: usize,
    root: bool,
}

impl<R: Read> Rewriter<R> {
    pub(crate) fn new(source: R) -> Self {
        let source = Counted { inner: BufReader::with_capacity(CHUNK, source), bytes: 0, piece: 0, lines: 0 };
        let mut reader = Reader::from_reader(source);
        reader.config_mut().check_comments = true;
        let bytes = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_vec();
        let written = Written { bytes, lines: 0, depth: 0, root: false };
        Self { reader, piece: Vec::new(), written, taken: 0, ended: false, refused: None }
    }

    /// Why it stopped, if it did.
    pub(crate) fn refused(self) -> Option<Unreadable> {
        self.refused
    }

    /// Rewrites the next piece.
    fn step(&mut self) -> Result<(), Unreadable> {
        self.reader.get_mut().piece = 0;
        self.piece.clear();
        let event = self.reader.read_event_into(&mut self.piece);
        let lines = self.reader.get_ref().lines;
        let broken = || Unreadable::Malformed(u32::try_from(lines + 1).unwrap_or(u32::MAX));
        let event = event.map_err(|error| match error {
            Error::Io(error)
                if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooMuch>) =>
            {
                Unreadable::Internal
            }
            Error::Syntax(SyntaxError::UnclosedDoctype)
            | Error::IllFormed(IllFormedError::MissingDoctypeName) => Unreadable::Doctype,
            _ => broken(),
        })?;
        let inside = self.written.depth > 0;
        match event {
            Event::Start(tag) => {
                self.written.open(&tag, lines)?.ok_or_else(broken)?;
                self.written.bytes.push(b'>');
                self.written.depth += 1;
            }
            Event::Empty(tag) => {
                self.written.open(&tag, lines)?.ok_or_else(broken)?;
                self.written.bytes.extend_from_slice(b"/>");
            }
            Event::End(tag) if inside => self.written.close(tag.name().into_inner(), lines),
            Event::Text(part) if inside => self.written.text(&part.xml10_content()).ok_or_else(broken)?,
            Event::CData(part) if inside => self.written.text(&part.xml10_content()).ok_or_else(broken)?,
            Event::Text(part) if part.trim_ascii().is_empty() => {}
            Event::GeneralRef(reference) if inside => {
                let letter = reference.resolve_char_ref().map_err(|_| broken())?;
                let text = letter.map(String::from);
                let text = text.as_deref().or_else(|| resolve_predefined_entity(&reference));
                self.written.text(text.ok_or(Unreadable::Doctype)?).ok_or_else(broken)?;
            }
            Event::Comment(_) | Event::PI(_) => {}
            Event::Decl(declaration) if !self.written.root => declared(&declaration).ok_or_else(broken)?,
            Event::DocType(_) => return Err(Unreadable::Doctype),
            Event::Eof if !inside && self.written.root => self.ended = true,
            _ => return Err(broken()),
        }
        Ok(())
    }
}

impl Written {
    /// A start tag but for its last character; nothing, when it is malformed.
    fn open(&mut self, tag: &BytesStart<'_>, line: u64) -> Result<Option<()>, Unreadable> {
        if self.depth == MAX_DEPTH {
            return Err(Unreadable::Internal);
        }
        if self.depth == 0 && std::mem::replace(&mut self.root, true) {
            return Ok(None);
        }
        let opened = open(tag, &mut self.bytes);
        self.pad(line);
        Ok(opened)
    }

    fn close(&mut self, name: &str, line: u64) {
        self.bytes.extend_from_slice(b"</");
        self.bytes.extend_from_slice(name.as_bytes());
        self.pad(line);
        self.bytes.push(b'>');
        self.depth -= 1;
    }

    fn text(&mut self, text: &str) -> Option<()> {
        let before = self.bytes.len();
        push(&mut self.bytes, text, false)?;
        self.lines += newlines(&self.bytes[before..]);
        Some(())
    }

    /// Line ends within a tag, so that it ends in the line in which it ended.
    fn pad(&mut self, line: u64) {
        while self.lines < line {
            self.bytes.push(b'\n');
            self.lines += 1;
        }
    }
}

impl<R: Read> Read for Rewriter<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.written.bytes.drain(..std::mem::take(&mut self.taken));
        while self.written.bytes.len() < into.len() && !self.ended {
            if let Err(why) = self.step() {
                self.refused = Some(why);
                return Err(io::Error::other("refused"));
            }
        }
        let count = into.len().min(self.written.bytes.len());
        into[..count].copy_from_slice(&self.written.bytes[..count]);
        self.taken = count;
        Ok(count)
    }
}

/// A start tag without its end; nothing, when it is malformed.
fn open(tag: &BytesStart<'_>, out: &mut Vec<u8>) -> Option<()> {
    out.push(b'<');
    name(tag.name().into_inner(), out)?;
    for (number, attribute) in tag.attributes().with_checks(false).enumerate() {
        let attribute = attribute.ok().filter(|_| number < MAX_ATTRIBUTES)?;
        out.push(b' ');
        name(attribute.key.into_inner(), out)?;
        out.extend_from_slice(b"=\"");
        if attribute.value.contains('<') {
            return None;
        }
        push(out, &attribute.normalized_value(XmlVersion::Implicit1_0).ok()?, true)?;
        out.push(b'"');
    }
    Some(())
}

/// A name; that it is one by XML's tables is for libxml2 to say, here only nothing else may be smuggled in.
fn name(name: &str, out: &mut Vec<u8>) -> Option<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte > 0x7f || b"_:-.".contains(&byte);
    if name.is_empty() || !name.bytes().all(fits) {
        return None;
    }
    out.extend_from_slice(name.as_bytes());
    Some(())
}

/// Text as the parser that reads it will see it again; nothing, when XML does not allow one of its characters.
fn push(out: &mut Vec<u8>, text: &str, attribute: bool) -> Option<()> {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' if attribute => b"&quot;",
            b'\t' if attribute => b"&#9;",
            b'\n' if attribute => b"&#10;",
            b'\r' => b"&#13;",
            0xef => match bytes.get(at + 1..at + 3) {
                Some([0xbf, 0xbe | 0xbf]) => return None,
                _ => continue,
            },
            0..=0x08 | 0x0b..=0x1f => return None,
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(escaped);
        done = at + 1;
    }
    out.extend_from_slice(&bytes[done..]);
    Some(())
}

/// Only UTF-8 may be declared.
fn declared(declaration: &BytesDecl<'_>) -> Option<()> {
    let encoding = declaration.encoding().and_then(Result::ok);
    encoding.is_none_or(|name| name.eq_ignore_ascii_case("utf-8")).then_some(())
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes
        .chunks(255)
        .map(|part| u64::from(part.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>()))
        .sum()
}

/// Counts what is read, and ends it when it is too much.
struct Counted<R> {
    inner: R,
    bytes: u64,
    piece: u64,
    lines: u64,
}

#[derive(Debug)]
struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too large")
    }
}

impl std::error::Error for TooMuch {}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes > MAX_BYTES || self.piece > MAX_PIECE {
            return Err(io::Error::other(TooMuch));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        // what was just filled in is still there: nothing is read
        if let Ok(bytes) = self.inner.fill_buf() {
            self.lines += newlines(bytes.get(..amount).unwrap_or_default());
        }
        self.bytes += amount as u64;
        self.piece += amount as u64;
        self.inner.consume(amount);
    }
}
