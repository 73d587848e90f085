// SPDX-License-Identifier: EUPL-1.2
//! Writer and validator of one message of one package.

mod rewrite;

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read},
    sync::Arc,
};

use kop_core::{ContentHash, Diagnostic, Tree};

use rewrite::Rewriter;

use crate::{
    checks::{self, Checks},
    codelist::Lists,
    files::file_name,
    judge,
    libxml2::Unreadable,
    model::Model,
    outline,
    package::{Compiled, MessageInfo, not_whole},
    paths::Paths,
    plan::{self, Plan},
    read,
    shape::{self, Shape},
    write,
};

/// Largest document that is validated as a tree in memory; larger ones are validated as a stream.
const MAX_TREE: usize = 1 << 20;
/// Bytes asked of a source at once; libxml2 takes them in smaller pieces.
const CHUNK: usize = 32 << 10;

/// How to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Code list versions: short name (last part of the list's URN) or whole URN → version.
    pub pins: BTreeMap<String, String>,
    /// Write `xsi:schemaLocation` on the root, with the file name of the entry document.
    pub schema_location: bool,
}

/// A written document.
#[derive(Clone, Debug)]
pub struct Written {
    /// UTF-8 XML with declaration, indented by two blanks.
    pub bytes: Vec<u8>,
    /// Which element came from where in the tree.
    pub paths: Paths,
}

/// Writer and validator of one message.
pub struct MessageSchema {
    pub(crate) hash: ContentHash,
    pub(crate) info: MessageInfo,
    pub(crate) plan: Arc<Plan>,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) checks: Checks,
    pub(crate) lists: Arc<Lists>,
}

impl MessageSchema {
    /// Writes the tree of the root's children and attributes.
    ///
    /// Element order, name spaces, fixed values and code list URNs come from the schema; what is empty is left
    /// out. Fails with all problems found (at most 50), each naming its target path.
    pub fn write(&self, tree: &Tree, options: &WriteOptions) -> Result<Written, Vec<Diagnostic>> {
        let location = options.schema_location.then(|| file_name(&self.info.entry));
        write::write(&self.plan, tree, options, location)
    }

    /// Reads a document of this message back into the tree that [`Self::write`] takes (docs/xml-abbild.md).
    ///
    /// Names are those of the writer's keys; an element that may repeat is always a list; `#` holds what a map
    /// cannot order. Comments, processing instructions, white space between elements and `xsi:schemaLocation`
    /// are left out. Fails with all problems found (at most 50): KOP-X030 to X036. That the document is valid
    /// is for [`Self::validate`] to say.
    pub fn read(&self, xml: &[u8]) -> Result<Tree, Vec<Diagnostic>> {
        read::read(&self.plan, xml)
    }

    /// Lets libxml2 judge the bytes against the entry document; `paths` of the same write give exact target
    /// paths, without them the paths are made from the elements' names.
    ///
    /// Above 1 MB this is [`Self::validate_stream`]; a document without paths is then taken for a foreign one. A small
    /// one goes to libxml2 as it is: what comes from outside belongs into [`Self::validate_stream`].
    pub fn validate(&self, xml: &[u8], paths: Option<&Paths>) -> Result<(), Vec<Diagnostic>> {
        if xml.len() > MAX_TREE {
            return self.judge_stream(xml, paths.is_none(), paths);
        }
        if prolog(xml).windows(9).any(|window| window == b"<!DOCTYPE") {
            return Err(vec![judge::unreadable(&Unreadable::Doctype)]);
        }
        let schema = self.compiled.schema(&self.info.entry).map_err(|problem| vec![problem])?;
        let found = schema.validate(xml).map_err(|why| vec![judge::unreadable(&why)])?;
        if found.is_empty() { Ok(()) } else { Err(judge::violations(&found, paths)) }
    }

    /// Judges a document while it is read, without a tree: memory does not grow with it. Target paths are made
    /// from the elements' names, with the numbers of repeats.
    ///
    /// A `foreign` document (one that [`Self::write`] did not make) is read by our own parser first, which
    /// refuses what [`Self::read`] refuses, and is rewritten for libxml2 piece by piece. At most 512 MB, 100
    /// levels and 10 MB for one tag or text; after 200 violations the rest is not read. Blocks.
    ///
    /// # Errors
    /// The violations, or KOP-X026 when it cannot be read, is not well-formed, or is too large.
    pub fn validate_stream(&self, xml: impl Read, foreign: bool) -> Result<(), Vec<Diagnostic>> {
        self.judge_stream(xml, foreign, None)
    }

    fn judge_stream(
        &self,
        xml: impl Read,
        foreign: bool,
        paths: Option<&Paths>,
    ) -> Result<(), Vec<Diagnostic>> {
        let schema = self.compiled.schema(&self.info.entry).map_err(|problem| vec![problem])?;
        let mut source = Source { inner: xml, failed: None };
        let found = if foreign {
            let mut rewriter = Rewriter::new(&mut source);
            let found = schema.validate_stream(&mut rewriter);
            match rewriter.refused() {
                Some(why) => Err(why),
                None => found,
            }
        } else {
            schema.validate_stream(&mut BufReader::with_capacity(CHUNK, &mut source))
        };
        if let Some(error) = source.failed {
            let (de, en) = ("Das Dokument konnte nicht gelesen werden.", "The document could not be read.");
            return Err(vec![Diagnostic::new("KOP-X026", de, en).with_detail(error.to_string())]);
        }
        let found = found.map_err(|why| vec![judge::unreadable(&why)])?;
        if found.is_empty() { Ok(()) } else { Err(judge::violations(&found, paths)) }
    }

    /// Checks what XSD cannot: codes against their lists, versions of lists against the pins and their validity on
    /// a day (ISO date), the head's message type and Kennungen, empty elements. For valid documents.
    ///
    /// Gives remarks, which do not stop the message: above all lists that are not there (KOP-X051).
    ///
    /// # Errors
    /// The problems (at most 50), each naming its target path.
    pub fn check(
        &self,
        written: &Written,
        options: &WriteOptions,
        today: &str,
    ) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let job = checks::Job {
            checks: &self.checks,
            lists: &self.lists,
            package: &self.hash,
            number: self.number(),
            pins: &options.pins,
            today,
        };
        checks::check(&written.bytes, &written.paths, &job)
    }

    /// The package's identity, to pin with the message.
    pub fn package_hash(&self) -> ContentHash {
        self.hash
    }

    /// The schema document it is compiled from, as a path in the package.
    pub fn entry_document(&self) -> &str {
        &self.info.entry
    }

    /// Name space of the root; empty when it has none.
    pub fn namespace(&self) -> &str {
        &self.info.namespace
    }

    /// Local name of the root.
    pub fn root(&self) -> &str {
        &self.info.root
    }

    /// Message number, e.g. `0200`.
    pub fn number(&self) -> Option<&str> {
        self.info.number.as_deref()
    }

    /// The message as an indented tree with cardinalities and types, for `kop schema show`.
    pub fn outline(&self) -> String {
        outline::outline(&self.plan)
    }

    /// The message's structure and the rules for its values, to make instances from. Read from the package anew.
    ///
    /// # Errors
    /// KOP-X043 or KOP-X045 when the package is not what it was when it was imported.
    pub fn shape(&self) -> Result<Shape, Diagnostic> {
        let files = self.compiled.source.files()?;
        let model = Model::build(&files, &self.info.entry).map_err(not_whole)?;
        let compiled = plan::compile_with_origins(&model, &self.info.namespace, &self.info.root);
        let (plan, origins) = compiled.map_err(not_whole)?;
        files.forget();
        Ok(shape::shape(&model, &plan, &origins))
    }

    /// The latest version of a code list that is at hand for this message, with its first codes.
    pub fn sample_codes(&self, urn: &str, most: usize) -> Option<(String, Vec<String>)> {
        self.lists.samples(&self.hash, urn, most)
    }

    /// Whether the schema knows a path below the root, e.g. `nachrichtenkopf.g2g`, `Kopf/ProzessID` or `@test`.
    pub fn has_child(&self, path: &str) -> bool {
        let mut number = self.plan.elements[self.plan.root as usize].typ;
        for name in path.split('/') {
            let typ = &self.plan.types[number as usize];
            if let Some(attribute) = name.strip_prefix('@') {
                return typ.attributes.iter().any(|known| &*known.name == attribute);
            }
            let Some(slot) = typ.slot(name) else { return false };
            let element = typ.slots[slot as usize].element;
            number = self.plan.elements[element as usize].typ;
        }
        true
    }

    /// The value that the schema fixes for a root attribute, e.g. `standard` or `version`.
    pub fn fixed_attribute(&self, name: &str) -> Option<&str> {
        let root = &self.plan.elements[self.plan.root as usize];
        let attributes = &self.plan.types[root.typ as usize].attributes;
        attributes.iter().find(|known| &*known.name == name)?.fixed.as_deref()
    }
}

/// Remembers why a document could not be read: libxml2 would only know that it could not.
struct Source<R> {
    inner: R,
    failed: Option<io::ErrorKind>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read(into).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = Some(error.kind());
            }
        })
    }
}

/// What comes before the first element: the only place for a DOCTYPE. (libxml2's own parse is asked again.)
fn prolog(xml: &[u8]) -> &[u8] {
    let root = xml.windows(2).position(|pair| pair[0] == b'<' && !matches!(pair[1], b'?' | b'!'));
    &xml[..root.unwrap_or(xml.len())]
}
