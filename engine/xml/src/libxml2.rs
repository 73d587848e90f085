// SPDX-License-Identifier: EUPL-1.2
//! The only place that talks to libxml2, and the only one with `unsafe`: compile a schema from documents in
//! memory, validate bytes against it, as a tree or (`stream`) while they are read. It knows nothing of packages or
//! diagnostics.
//!
//! Safety, once for all calls: every pointer handed to libxml2 lives until the call returns; what libxml2
//! allocates is owned by a guard that frees it once; callbacks get a pointer to a value on the caller's stack
//! and never unwind. A compiled schema is read-only after compilation and may be shared by threads (measured,
//! see the stress test); compilation itself is serialised by a lock.
#![allow(unsafe_code)] // libxml2 is C; the safe wrapper of the crate loses the node of an error

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::{Arc, Mutex, Once, PoisonError},
};

use libxml::bindings as c;

mod stream;
mod track;

/// Most violations taken from one document.
const MAX_VIOLATIONS: usize = 200;
/// Most characters of one value or message kept.
const MAX_TEXT: usize = 2_000;

/// Answers libxml2's requests for documents.
pub(crate) trait Catalogue: Send + Sync {
    /// The bytes behind an address and the address under which the document resolves its own references, or
    /// nothing: then libxml2 gets nothing.
    fn answer(&self, address: &str) -> Option<(CString, Arc<[u8]>)>;
}

/// What the thread is compiling.
struct Loading {
    catalogue: Arc<dyn Catalogue>,
    refused: Vec<String>,
    /// Bytes handed over.
    bytes: usize,
}

thread_local! {
    static LOADING: RefCell<Option<Loading>> = const { RefCell::new(None) };
}

static COMPILING: Mutex<()> = Mutex::new(());

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A document is thousands of small pieces: with mimalloc the same parse and validation take a quarter less.
        // SAFETY: called once, before libxml2 has allocated anything; the four functions are one allocator's and
        // have the demanded signatures.
        unsafe {
            c::xmlMemSetup(
                Some(libmimalloc_sys::mi_free),
                Some(libmimalloc_sys::mi_malloc),
                Some(libmimalloc_sys::mi_realloc),
                Some(libmimalloc_sys::mi_strdup),
            );
        }
        libxml::init_parser();
        // SAFETY: called once, before any parser exists; `load` has the demanded signature.
        unsafe { c::xmlSetExternalEntityLoader(Some(load)) }
    });
}

/// The one entity loader of the process: reads only from the catalogue of the compiling thread.
unsafe extern "C" fn load(
    address: *const c_char,
    _public_id: *const c_char,
    context: c::xmlParserCtxtPtr,
) -> c::xmlParserInputPtr {
    if address.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: libxml2 passes a NUL-terminated string that outlives the call.
    let wanted = unsafe { CStr::from_ptr(address) }.to_string_lossy().into_owned();
    let found = LOADING.with_borrow_mut(|loading| {
        let loading = loading.as_mut()?;
        let found = loading.catalogue.answer(&wanted);
        if found.is_none() && loading.refused.len() < 20 {
            loading.refused.push(wanted.clone());
        }
        loading.bytes += found.as_ref().map_or(0, |(_, bytes)| bytes.len());
        found
    });
    let Some((base, bytes)) = found else { return ptr::null_mut() };
    let Ok(length) = c_int::try_from(bytes.len()) else { return ptr::null_mut() };
    // SAFETY: libxml2 copies the bytes into its buffer; the buffer belongs to the input stream, which belongs
    // to the context; `xmlStrdup` copies the address, which libxml2 frees with the stream.
    unsafe {
        let buffer = c::xmlParserInputBufferCreateMem(
            bytes.as_ptr().cast(),
            length,
            c::xmlCharEncoding_XML_CHAR_ENCODING_NONE,
        );
        if buffer.is_null() {
            return ptr::null_mut();
        }
        let stream = c::xmlNewIOInputStream(context, buffer, c::xmlCharEncoding_XML_CHAR_ENCODING_NONE);
        if stream.is_null() {
            c::xmlFreeParserInputBuffer(buffer);
            return ptr::null_mut();
        }
        (*stream).filename = c::xmlStrdup(base.as_ptr().cast()).cast();
        stream
    }
}

/// What a compiled schema takes for each byte of the documents that it was made from, in tenths. The 23 entry documents
/// of XBau 2.6 ask for 24.7 MB and take 137 MB; `tests/memory.rs` measures it again.
const TENTHS_PER_BYTE: usize = 55;

/// A compiled schema, and the bytes of the documents that it was made from.
pub(crate) struct Schema(ptr::NonNull<c::_xmlSchema>, usize);

// SAFETY: after `xmlSchemaParse` libxml2 only reads a schema; contexts for validation are per call.
unsafe impl Send for Schema {}
// SAFETY: as above.
unsafe impl Sync for Schema {}

impl Drop for Schema {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { c::xmlSchemaFree(self.0.as_ptr()) }
    }
}

/// Why a schema does not compile.
#[derive(Debug, Default)]
pub(crate) struct CompileError {
    /// libxml2's words, first line of each, at most ten.
    pub(crate) messages: Vec<String>,
    /// Addresses that were asked for in vain.
    pub(crate) refused: Vec<String>,
}

unsafe extern "C" fn collect_message(user: *mut c_void, error: c::xmlErrorPtr) {
    if user.is_null() || error.is_null() {
        return;
    }
    // SAFETY: `user` is the `Vec` of the calling function, alive during the call; `error` is libxml2's own.
    unsafe {
        let messages = &mut *user.cast::<Vec<String>>();
        if messages.len() < 10 && (*error).level >= c::xmlErrorLevel_XML_ERR_ERROR {
            let text = owned((*error).message);
            messages.push(format!("{} (Zeile {})", text.lines().next().unwrap_or_default(), (*error).line));
        }
    }
}

/// Compiles the schema whose entry document lies at an address of the catalogue.
pub(crate) fn compile(entry: &str, catalogue: Arc<dyn Catalogue>) -> Result<Schema, CompileError> {
    init();
    let _one_at_a_time = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(entry) = CString::new(entry) else { return Err(CompileError::default()) };
    let mut messages: Vec<String> = Vec::new();
    LOADING.set(Some(Loading { catalogue, refused: Vec::new(), bytes: 0 }));
    // SAFETY: see the module; the handlers (one is thread-local in libxml2) are reset before `messages` dies.
    let schema = unsafe {
        let user: *mut c_void = ptr::from_mut(&mut messages).cast();
        c::xmlSetStructuredErrorFunc(user, Some(collect_message));
        let context = c::xmlSchemaNewParserCtxt(entry.as_ptr());
        let schema = if context.is_null() {
            ptr::null_mut()
        } else {
            c::xmlSchemaSetParserStructuredErrors(context, Some(collect_message), user);
            let schema = c::xmlSchemaParse(context);
            c::xmlSchemaFreeParserCtxt(context);
            schema
        };
        c::xmlSetStructuredErrorFunc(ptr::null_mut(), None);
        schema
    };
    let (refused, bytes) = LOADING.take().map(|loading| (loading.refused, loading.bytes)).unwrap_or_default();
    match ptr::NonNull::new(schema).map(|schema| Schema(schema, bytes)) {
        Some(schema) if messages.is_empty() => Ok(schema),
        _ => Err(CompileError { messages, refused }),
    }
}

/// A rule that a document breaks.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// libxml2's error number.
    pub(crate) code: c_int,
    /// libxml2's words; may hold the value.
    pub(crate) message: String,
    /// Position of the element: n-th element child (from 0) at each level below the root.
    pub(crate) steps: Vec<u32>,
    /// The same with local names, repeats numbered from 1.
    pub(crate) path: String,
    /// Local name of the attribute, when the error is at one.
    pub(crate) attribute: Option<String>,
    /// Text of the element or attribute, when it has no element children.
    pub(crate) value: Option<String>,
}

/// Why a document could not be judged.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Not well-formed, with line.
    Malformed(u32),
    /// It has a document type declaration.
    Doctype,
    /// libxml2 ran out of memory or broke down.
    Internal,
}

/// Local name of the attribute that a message is about: `Element 'e', attribute 'a': …`.
fn attribute_in(message: &str) -> Option<&str> {
    let (head, rest) = message.split_once("', attribute '")?;
    // a value could hold these words, but it comes after the element's name
    let name = rest.split_once("': ").map(|(name, _)| name).filter(|_| !head.contains("': "))?;
    Some(name.rsplit('}').next().unwrap_or(name))
}

struct Document(ptr::NonNull<c::_xmlDoc>);

impl Drop for Document {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { c::xmlFreeDoc(self.0.as_ptr()) }
    }
}

fn parse(xml: &[u8]) -> Result<Document, Unreadable> {
    let length = c_int::try_from(xml.len()).map_err(|_| Unreadable::Internal)?;
    let options = c::xmlParserOption_XML_PARSE_NONET
        | c::xmlParserOption_XML_PARSE_NOERROR
        | c::xmlParserOption_XML_PARSE_NOWARNING
        | c::xmlParserOption_XML_PARSE_COMPACT
        | c::xmlParserOption_XML_PARSE_BIG_LINES;
    // SAFETY: see the module; the context is freed on every way out, the document is owned by its guard.
    unsafe {
        let context = c::xmlNewParserCtxt();
        if context.is_null() {
            return Err(Unreadable::Internal);
        }
        let document = c::xmlCtxtReadMemory(
            context,
            xml.as_ptr().cast(),
            length,
            ptr::null(),
            c"UTF-8".as_ptr(),
            options.cast_signed(),
        );
        let error = c::xmlCtxtGetLastError(context.cast());
        let line = if error.is_null() { 0 } else { u32::try_from((*error).line).unwrap_or(0) };
        c::xmlFreeParserCtxt(context);
        let document = ptr::NonNull::new(document).map(Document).ok_or(Unreadable::Malformed(line))?;
        if document.0.as_ref().intSubset.is_null() { Ok(document) } else { Err(Unreadable::Doctype) }
    }
}

unsafe extern "C" fn collect_violation(user: *mut c_void, error: c::xmlErrorPtr) {
    if user.is_null() || error.is_null() {
        return;
    }
    // SAFETY: `user` is the `Vec` of `validate`, `error` is libxml2's own; its node belongs to the document,
    // which lives until after the validation.
    unsafe {
        let violations = &mut *user.cast::<Vec<Violation>>();
        if violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let message = owned((*error).message);
        let violation = violation((*error).node.cast(), (*error).code, message);
        violations.push(violation);
    }
}

/// # Safety
/// `node` is null or a node of a living document.
unsafe fn violation(node: *mut c::_xmlNode, code: c_int, message: String) -> Violation {
    let mut found =
        Violation { code, message, steps: Vec::new(), path: String::new(), attribute: None, value: None };
    // SAFETY: nodes of a living document point to each other and to NUL-terminated names.
    unsafe {
        let mut element = node;
        if !element.is_null() && (*element).type_ == c::xmlElementType_XML_ATTRIBUTE_NODE {
            found.attribute = Some(owned((*element).name.cast()));
            found.value = first_text((*element).children);
            element = (*element).parent;
        } else if !element.is_null() {
            // some versions of libxml2 give the element instead of its attribute
            let named = attribute_in(&found.message)
                .filter(|_| (*element).type_ == c::xmlElementType_XML_ELEMENT_NODE);
            found.value = match named {
                Some(name) => attribute_value(element, name),
                None => first_text((*element).children),
            };
            found.attribute = named.map(str::to_owned);
        }
        let mut names = Vec::new();
        while !element.is_null() && (*element).type_ == c::xmlElementType_XML_ELEMENT_NODE {
            let parent = (*element).parent;
            if parent.is_null() || (*parent).type_ != c::xmlElementType_XML_ELEMENT_NODE {
                break;
            }
            let name = owned((*element).name.cast());
            let (before, same_before) = siblings((*element).prev, &name, |node| (*node).prev);
            let (_, same_after) = siblings((*element).next, &name, |node| (*node).next);
            found.steps.push(before);
            let repeated = same_before + same_after > 0;
            names.push(if repeated { format!("{name}[{}]", same_before + 1) } else { name });
            element = parent;
        }
        found.steps.reverse();
        names.reverse();
        found.path = names.join("/");
    }
    found
}

/// # Safety
/// `element` is an element of a living document.
unsafe fn attribute_value(element: *mut c::_xmlNode, name: &str) -> Option<String> {
    // SAFETY: as the function's; an attribute's name is NUL-terminated.
    unsafe {
        let mut attribute = (*element).properties;
        while !attribute.is_null() {
            if CStr::from_ptr((*attribute).name.cast()).to_bytes() == name.as_bytes() {
                return first_text((*attribute).children);
            }
            attribute = (*attribute).next;
        }
    }
    None
}

/// Counts sibling elements in one direction: all, and those of a name.
///
/// # Safety
/// `node` is null or a node of a living document.
unsafe fn siblings(
    mut node: *mut c::_xmlNode,
    name: &str,
    next: impl Fn(*mut c::_xmlNode) -> *mut c::_xmlNode,
) -> (u32, u32) {
    let (mut all, mut same) = (0, 0);
    while !node.is_null() {
        // SAFETY: as the function's.
        unsafe {
            if (*node).type_ == c::xmlElementType_XML_ELEMENT_NODE {
                all += 1;
                same += u32::from(CStr::from_ptr((*node).name.cast()).to_bytes() == name.as_bytes());
            }
        }
        node = next(node);
    }
    (all, same)
}

/// # Safety
/// `node` is null or the first child of a node of a living document.
unsafe fn first_text(node: *mut c::_xmlNode) -> Option<String> {
    // SAFETY: as the function's; only text nodes have text in `content`.
    unsafe {
        if node.is_null() || (*node).type_ != c::xmlElementType_XML_TEXT_NODE || !(*node).next.is_null() {
            return None;
        }
        Some(owned((*node).content.cast()))
    }
}

/// # Safety
/// `text` is null or NUL-terminated.
unsafe fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the function's.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_TEXT)]).into_owned()
}

impl Schema {
    /// About how many bytes it takes in memory.
    pub(crate) fn cost(&self) -> usize {
        self.1 / 10 * TENTHS_PER_BYTE
    }

    /// Judges a document: an empty list means valid.
    pub(crate) fn validate(&self, xml: &[u8]) -> Result<Vec<Violation>, Unreadable> {
        init();
        let document = parse(xml)?;
        let mut violations: Vec<Violation> = Vec::new();
        // SAFETY: see the module; the context only reads the schema and dies before the document.
        let verdict = unsafe {
            let context = c::xmlSchemaNewValidCtxt(self.0.as_ptr());
            if context.is_null() {
                return Err(Unreadable::Internal);
            }
            let user: *mut c_void = ptr::from_mut(&mut violations).cast();
            c::xmlSchemaSetValidStructuredErrors(context, Some(collect_violation), user);
            let verdict = c::xmlSchemaValidateDoc(context, document.0.as_ptr());
            c::xmlSchemaFreeValidCtxt(context);
            verdict
        };
        drop(document);
        match verdict {
            0 => Ok(violations),
            code if code > 0 && !violations.is_empty() => Ok(violations),
            _ => Err(Unreadable::Internal),
        }
    }
}
