// SPDX-License-Identifier: EUPL-1.2
//! Takes the files out of a SOAP envelope while it arrives.
//!
//! Copies the envelope but for the text of each `content` element inside `attachments`: that is decoded and
//! given out in pieces, and an `xop:Include` takes its place, so that base64 and MTOM look alike afterwards.
//! What is left is small. This is no XML parser: it knows just enough of markup to find elements, and
//! whatever it lets through a real parser reads afterwards. DOCTYPE never gets past it.

use bytes::Bytes;

use super::{NS_XOP, base64_stream::Decoder};

/// Largest envelope without its files.
const MAX_SKELETON: usize = 4 * 1024 * 1024;
/// Largest tag.
const MAX_TAG: usize = 64 * 1024;
/// Deepest nesting of elements.
const MAX_DEPTH: usize = 64;
/// Content-ID of the files that this module took out, before their number.
pub(super) const TAKEN: &str = "kop-base64-";

/// Something found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The SOAP header, wrapped in its envelope; it is no longer in the skeleton.
    Header(Vec<u8>),
    /// A file begins.
    FileStart,
    /// Bytes of the file.
    FileBytes(Bytes),
    /// The file is complete.
    FileEnd,
}

/// Why the envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Doctype,
    Encoding,
    Base64,
    Limit,
    Malformed,
    CutOff,
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Text,
    /// From `<` on, while it is not yet known of what kind.
    Markup,
    /// In a tag; inside an attribute's quotes or not.
    Tag(Option<u8>),
    /// In a comment, with the number of hyphens just seen.
    Comment(u8),
    /// In a CDATA section, with the number of brackets just seen.
    CData(u8),
    /// In a processing instruction or XML declaration.
    Instruction,
    /// From `&` on, inside a file's text.
    Reference,
}

/// A file whose text is being read.
#[derive(Debug, Default)]
struct Content {
    decoder: Decoder,
    started: bool,
    has_child: bool,
}

/// An envelope in the middle of its arrival.
#[derive(Debug)]
pub(super) struct Extractor {
    mode: Mode,
    markup: Vec<u8>,
    skeleton: Vec<u8>,
    open: Vec<Vec<u8>>,
    root_seen: bool,
    header_at: Option<usize>,
    content: Option<Content>,
    decoded: Vec<u8>,
    files: usize,
    /// The first bytes, until it is clear that they are no byte order mark of another encoding.
    lead: Option<Vec<u8>>,
}

impl Extractor {
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Text,
            markup: Vec::new(),
            skeleton: Vec::new(),
            open: Vec::new(),
            root_seen: false,
            header_at: None,
            content: None,
            decoded: Vec::new(),
            files: 0,
            lead: Some(Vec::new()),
        }
    }

    /// Reads a piece of the envelope; what was found is appended to `found`.
    pub(super) fn push(&mut self, piece: &[u8], found: &mut Vec<Found>) -> Result<(), Fault> {
        let whole;
        let mut rest = piece;
        if let Some(mut lead) = self.lead.take() {
            lead.extend_from_slice(piece);
            if lead.len() < 4 {
                self.lead = Some(lead);
                return Ok(());
            }
            whole = lead;
            rest = without_mark(&whole)?;
        }
        while let Some((first, tail)) = rest.split_first() {
            match self.mode {
                Mode::Text => {
                    let in_file = self.in_file();
                    let end = rest
                        .iter()
                        .position(|byte| *byte == b'<' || (in_file && *byte == b'&'))
                        .unwrap_or(rest.len());
                    let (text, after) = rest.split_at(end);
                    self.text(text, found)?;
                    rest = after;
                    if let Some((byte, after)) = rest.split_first() {
                        self.markup.clear();
                        self.markup.push(*byte);
                        self.mode = if *byte == b'<' { Mode::Markup } else { Mode::Reference };
                        rest = after;
                    }
                }
                Mode::Markup => {
                    self.markup.push(*first);
                    rest = tail;
                    self.decide()?;
                }
                Mode::Tag(quote) => {
                    self.markup.push(*first);
                    rest = tail;
                    match (quote, *first) {
                        (None, b'>') => {
                            self.mode = Mode::Text;
                            self.tag(found)?;
                        }
                        (None, b'<') => return Err(Fault::Malformed),
                        (None, q @ (b'"' | b'\'')) => self.mode = Mode::Tag(Some(q)),
                        (Some(q), byte) if q == byte => self.mode = Mode::Tag(None),
                        _ => {}
                    }
                    if self.markup.len() > MAX_TAG {
                        return Err(Fault::Limit);
                    }
                }
                Mode::Comment(hyphens) => {
                    rest = tail;
                    self.mode = match (*first, hyphens) {
                        (b'-', n) => Mode::Comment((n + 1).min(2)),
                        (b'>', 2) => Mode::Text,
                        _ => Mode::Comment(0),
                    };
                }
                Mode::CData(brackets) => {
                    rest = tail;
                    self.cdata(*first, brackets, found)?;
                }
                Mode::Instruction => {
                    self.markup.push(*first);
                    rest = tail;
                    if self.markup.ends_with(b"?>") && self.markup.len() > 3 {
                        self.mode = Mode::Text;
                        check_declaration(&self.markup)?;
                    }
                    if self.markup.len() > MAX_TAG {
                        return Err(Fault::Limit);
                    }
                }
                Mode::Reference => {
                    self.markup.push(*first);
                    rest = tail;
                    if *first == b';' {
                        // Java's writers put a carriage return into base64 as a character reference.
                        if !is_space_reference(&self.markup) {
                            return Err(Fault::Base64);
                        }
                        self.mode = Mode::Text;
                    } else if self.markup.len() > 8 {
                        return Err(Fault::Base64);
                    }
                }
            }
        }
        self.flush(found);
        Ok(())
    }

    /// The envelope without its files, in UTF-8 as far as it declares.
    pub(super) fn finish(self) -> Result<Vec<u8>, Fault> {
        if let Some(lead) = &self.lead {
            without_mark(lead)?;
        }
        if self.mode == Mode::Text && self.open.is_empty() && self.root_seen {
            Ok(self.skeleton)
        } else {
            Err(Fault::CutOff)
        }
    }

    /// Bytes held at present.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.skeleton.len() + self.markup.len() + self.decoded.len()
    }

    /// Whether text at this place belongs to a file: directly inside `content`, not inside a child of it.
    fn in_file(&self) -> bool {
        self.content.is_some() && self.open.last().is_some_and(|name| local(name) == b"content")
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.skeleton.len() + bytes.len() > MAX_SKELETON {
            return Err(Fault::Limit);
        }
        self.skeleton.extend_from_slice(bytes);
        Ok(())
    }

    fn text(&mut self, text: &[u8], found: &mut Vec<Found>) -> Result<(), Fault> {
        if self.in_file() {
            return self.file_text(text, found);
        }
        if self.open.is_empty() {
            // Outside of the root element there is room for white space only.
            return if text.iter().all(u8::is_ascii_whitespace) { Ok(()) } else { Err(Fault::Malformed) };
        }
        self.copy(text)
    }

    fn file_text(&mut self, text: &[u8], found: &mut Vec<Found>) -> Result<(), Fault> {
        let Some(content) = &mut self.content else { return Ok(()) };
        if !content.started {
            if text.iter().all(u8::is_ascii_whitespace) {
                return Ok(());
            }
            if content.has_child {
                return Err(Fault::Malformed);
            }
            content.started = true;
            found.push(Found::FileStart);
        }
        content.decoder.push(text, &mut self.decoded).map_err(|_| Fault::Base64)
    }

    fn flush(&mut self, found: &mut Vec<Found>) {
        if !self.decoded.is_empty() {
            found.push(Found::FileBytes(std::mem::take(&mut self.decoded).into()));
        }
    }

    /// Finds out of what kind a piece of markup is.
    fn decide(&mut self) -> Result<(), Fault> {
        const COMMENT: &[u8] = b"<!--";
        const CDATA: &[u8] = b"<![CDATA[";
        let markup = self.markup.as_slice();
        match markup.get(1) {
            Some(b'!') if markup == COMMENT => self.mode = Mode::Comment(0),
            Some(b'!') if markup == CDATA => {
                if self.open.is_empty() {
                    return Err(Fault::Malformed);
                }
                if !self.in_file() {
                    self.copy(CDATA)?;
                }
                self.mode = Mode::CData(0);
            }
            Some(b'!') if COMMENT.starts_with(markup) || CDATA.starts_with(markup) => {}
            Some(b'!') => return Err(Fault::Doctype),
            Some(b'?') => self.mode = Mode::Instruction,
            Some(b'>') => return Err(Fault::Malformed),
            _ => self.mode = Mode::Tag(None),
        }
        Ok(())
    }

    fn cdata(&mut self, byte: u8, brackets: u8, found: &mut Vec<Found>) -> Result<(), Fault> {
        let end = byte == b'>' && brackets == 2;
        if !self.in_file() {
            self.copy(&[byte])?;
        } else if byte == b']' {
            if brackets == 2 {
                return Err(Fault::Base64);
            }
        } else if !end {
            if brackets > 0 {
                return Err(Fault::Base64);
            }
            self.file_text(&[byte], found)?;
        }
        self.mode = match byte {
            _ if end => Mode::Text,
            b']' => Mode::CData((brackets + 1).min(2)),
            _ => Mode::CData(0),
        };
        Ok(())
    }

    fn tag(&mut self, found: &mut Vec<Found>) -> Result<(), Fault> {
        let markup = std::mem::take(&mut self.markup);
        if let Some(inner) = markup.strip_prefix(b"</") {
            let name = name_of(inner);
            return self.close(name, found);
        }
        let name = name_of(&markup[1..]).to_vec();
        if name.is_empty() || (self.open.is_empty() && self.root_seen) {
            return Err(Fault::Malformed);
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::Limit);
        }
        self.root_seen = true;
        let empty = markup.ends_with(b"/>");
        let parent = self.open.last().map(|parent| local(parent).to_vec());
        if let Some(content) = self.content.as_mut() {
            // `xop:Include`, or something that a parser will refuse.
            if content.started {
                return Err(Fault::Malformed);
            }
            content.has_child = true;
        } else if local(&name) == b"content"
            && parent.is_some_and(|parent| parent == b"attachments" || parent == b"attachment")
        {
            let start = if empty { &markup[..markup.len() - 2] } else { &markup[..markup.len() - 1] };
            self.copy(start)?;
            self.copy(b">")?;
            self.content = Some(Content::default());
            self.open.push(name.clone());
            return if empty { self.close(&name, found) } else { Ok(()) };
        } else if local(&name) == b"Header" && self.open.len() == 1 && !empty {
            self.header_at = Some(self.skeleton.len());
        }
        self.copy(&markup)?;
        if !empty {
            self.open.push(name);
        }
        Ok(())
    }

    fn close(&mut self, name: &[u8], found: &mut Vec<Found>) -> Result<(), Fault> {
        let in_file = self.in_file();
        if self.open.pop().as_deref() != Some(name) {
            return Err(Fault::Malformed);
        }
        if in_file
            && let Some(content) = self.content.take()
            && !content.has_child
        {
            if !content.started {
                found.push(Found::FileStart);
            }
            content.decoder.finish().map_err(|_| Fault::Base64)?;
            self.flush(found);
            found.push(Found::FileEnd);
            let include = format!("<Include xmlns=\"{NS_XOP}\" href=\"cid:{TAKEN}{}\"/>", self.files);
            self.files += 1;
            self.copy(include.as_bytes())?;
        }
        self.copy(b"</")?;
        self.copy(name)?;
        self.copy(b">")?;
        if self.open.len() == 1
            && local(name) == b"Header"
            && let Some(start) = self.header_at.take()
        {
            let mut header = self.skeleton.clone();
            header.extend_from_slice(b"</");
            header.extend_from_slice(&self.open[0]);
            header.push(b'>');
            self.skeleton.truncate(start);
            found.push(Found::Header(header));
        }
        Ok(())
    }
}

/// The name at the start of a tag's inside.
fn name_of(inner: &[u8]) -> &[u8] {
    let end = inner
        .iter()
        .position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))
        .unwrap_or(inner.len());
    &inner[..end]
}

/// A name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    name.iter().rposition(|byte| *byte == b':').map_or(name, |at| &name[at + 1..])
}

/// Refuses UTF-16 and UTF-32 by their first bytes (XML 1.0, appendix F) and drops the mark of UTF-8.
fn without_mark(lead: &[u8]) -> Result<&[u8], Fault> {
    match lead {
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, ..] | [_, 0, ..] => Err(Fault::Encoding),
        [0xEF, 0xBB, 0xBF, rest @ ..] => Ok(rest),
        _ => Ok(lead),
    }
}

/// An XML declaration may name UTF-8 or its subset only.
fn check_declaration(markup: &[u8]) -> Result<(), Fault> {
    if !markup.starts_with(b"<?xml") || !markup.get(5).is_some_and(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(markup);
    let Some((_, rest)) = text.split_once("encoding") else { return Ok(()) };
    let name = rest.split(['"', '\'']).nth(1).unwrap_or_default();
    if ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
        Ok(())
    } else {
        Err(Fault::Encoding)
    }
}

fn is_space_reference(reference: &[u8]) -> bool {
    let Some(digits) = reference
        .strip_prefix(b"&#")
        .and_then(|rest| rest.strip_suffix(b";"))
        .and_then(|d| std::str::from_utf8(d).ok())
    else {
        return false;
    };
    let code = match digits.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    matches!(code, Ok(9 | 10 | 13 | 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Skeleton, files and headers.
    type Taken = (String, Vec<Vec<u8>>, Vec<Vec<u8>>);

    fn run(envelope: &[u8], piece: usize) -> Result<Taken, Fault> {
        let (mut extractor, mut found) = (Extractor::new(), Vec::new());
        for piece in envelope.chunks(piece) {
            extractor.push(piece, &mut found)?;
        }
        let (mut files, mut headers) = (Vec::new(), Vec::new());
        for found in found {
            match found {
                Found::Header(header) => headers.push(header),
                Found::FileStart => files.push(Vec::new()),
                Found::FileBytes(bytes) => files.last_mut().unwrap().extend_from_slice(&bytes),
                Found::FileEnd => {}
            }
        }
        Ok((String::from_utf8(extractor.finish()?).unwrap(), files, headers))
    }

    const ENVELOPE: &str = "\u{feff}<?xml version='1.0' encoding='utf-8'?><!-- <a> -- > --><S:Envelope xmlns:S='s' \
        b='a>b'><S:Header><x>geheim</x></S:Header><S:Body><n:d xmlns:n='n'>\
        <attachments><id><![CDATA[<content>QQ==</content>]]]></id><content>\n QUJD&#13;\nRE<!-- x -->VG </content></attachments>\
        <n:attachments><n:content><![CDATA[QQ]]>==</n:content></n:attachments>\
        <attachments><content/><content></content><content xml:lang='de'><i:Include xmlns:i='x' href='cid:1'/></content></attachments>\
        <content>kein Base64 &amp; keine Datei</content></n:d></S:Body></S:Envelope>\n<!-- Ende -->";

    #[test]
    fn the_result_does_not_depend_on_the_pieces() {
        let whole = run(ENVELOPE.as_bytes(), usize::MAX).unwrap();
        assert_eq!(whole.1, [b"ABCDEF".to_vec(), b"A".to_vec(), Vec::new(), Vec::new()]);
        assert!(!whole.0.contains("geheim") && !whole.0.contains("QUJD"), "{}", whole.0);
        assert!(whole.0.contains("kein Base64") && whole.0.contains("<![CDATA[<content>QQ==</content>]]]>"));
        assert_eq!(whole.0.matches(TAKEN).count(), 4);
        assert!(String::from_utf8_lossy(&whole.2[0]).ends_with("<x>geheim</x></S:Header></S:Envelope>"));
        for piece in 1..ENVELOPE.len() {
            assert_eq!(run(ENVELOPE.as_bytes(), piece).unwrap(), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn every_place_to_cut_off_is_noticed() {
        let end = ENVELOPE.rfind("</S:Envelope>").unwrap() + "</S:Envelope>".len();
        for cut in 0..end {
            assert!(run(&ENVELOPE.as_bytes()[..cut], 7).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn hostile_envelopes_are_refused() {
        let content = |inner: &str| format!("<a><attachments><content>{inner}</content></attachments></a>");
        for (envelope, fault) in [
            ("<!DOCTYPE a><a/>".to_owned(), Fault::Doctype),
            ("<a><!ENTITY b 'c'></a>".to_owned(), Fault::Doctype),
            ("<?xml version='1.0' encoding='ISO-8859-1'?><a/>".to_owned(), Fault::Encoding),
            ("<a>".repeat(100_000), Fault::Limit),
            (format!("<a>{}</a>", "x".repeat(MAX_SKELETON)), Fault::Limit),
            (format!("<a b='{}'/>", "x".repeat(MAX_TAG)), Fault::Limit),
            ("<a></b>".to_owned(), Fault::Malformed),
            ("<a/><b/>".to_owned(), Fault::Malformed),
            ("text<a/>".to_owned(), Fault::Malformed),
            (content("QQ==<x/>"), Fault::Malformed),
            (content("<x/>QQ=="), Fault::Malformed),
            (content("QQ=&eq;"), Fault::Base64),
            (content("äöü"), Fault::Base64),
            (content("<![CDATA[Q]]Q]]>"), Fault::Base64),
            (content("QQ="), Fault::Base64),
        ] {
            let shown: String = envelope.chars().take(60).collect();
            assert_eq!(run(envelope.as_bytes(), 11).unwrap_err(), fault, "{shown}");
        }
        let utf16: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(run(&utf16, 1).unwrap_err(), Fault::Encoding);
    }

    #[test]
    fn a_large_file_passes_with_little_memory() {
        let (mut extractor, mut found) = (Extractor::new(), Vec::new());
        extractor.push(b"<a><attachments><content>", &mut found).unwrap();
        let piece = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9w\r\n".repeat(1_000);
        let (mut passed, mut peak) = (0, 0);
        while passed < 200_000_000 {
            extractor.push(piece.as_bytes(), &mut found).unwrap();
            let given: usize = found
                .drain(..)
                .map(|found| if let Found::FileBytes(bytes) = found { bytes.len() } else { 0 })
                .sum();
            passed += given;
            peak = peak.max(given + extractor.held());
        }
        extractor.push(b"</content></attachments></a>", &mut found).unwrap();
        extractor.finish().unwrap();
        assert!(peak < 2 * piece.len(), "{peak}");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, piece in 1_usize..20) {
            let _ = run(&bytes, piece);
        }

        #[test]
        fn soup_of_markup_does_not_depend_on_the_pieces(
            words in proptest::collection::vec(proptest::sample::select(vec![
                "<a>", "</a>", "<attachments>", "</attachments>", "<content>", "</content>", "<content/>",
                "QQ==", "<!--", "-->", "<![CDATA[", "]]>", "&#13;", " ", "<?x ?>", "ä", "<b c='>'/>",
            ]), 0..20),
            piece in 1_usize..8,
        ) {
            let soup = format!("<r>{}</r>", words.concat());
            proptest::prop_assert_eq!(run(soup.as_bytes(), piece), run(soup.as_bytes(), usize::MAX));
        }
    }
}
