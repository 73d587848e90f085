// SPDX-License-Identifier: EUPL-1.2
//! Validation of a document as it is read, without a tree: libxml2 pulls bytes from a reader and hands each
//! tag to [`Track`] before it judges it.
//!
//! Safety, beyond what the parent says: the callbacks get a pointer to the [`Run`] on the caller's stack; each
//! makes a reference that ends with it, and none calls libxml2 but for `xmlStopParser`, which calls none back.

use std::{
    ffi::{c_char, c_int, c_void},
    io::{ErrorKind, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use libxml::bindings as c;

use super::{Schema, Unreadable, Violation, init, owned, track::Track};

/// Largest document.
const MAX_BYTES: u64 = 512 << 20;
/// Deepest nesting; what the writer and the reader allow too.
const MAX_DEPTH: usize = 100;

struct Run<'s> {
    source: &'s mut dyn Read,
    bytes: u64,
    track: Track,
    parser: c::xmlParserCtxtPtr,
    /// Why it ended before the end; nothing, when there were violations enough.
    stopped: Option<Unreadable>,
    enough: bool,
}

impl Run<'_> {
    /// # Safety
    /// The parser lives.
    unsafe fn stop(&mut self, why: Unreadable) {
        self.stopped.get_or_insert(why);
        // SAFETY: as the function's.
        unsafe { c::xmlStopParser(self.parser) }
    }
}

/// Hands libxml2 the next bytes; 0 is the end, -1 an error.
unsafe extern "C" fn read(user: *mut c_void, into: *mut c_char, length: c_int) -> c_int {
    let Ok(length) = usize::try_from(length) else { return -1 };
    if user.is_null() || into.is_null() {
        return -1;
    }
    // SAFETY: `user` is the `Run` of `validate_stream`; `into` has room for `length` bytes, which are written
    // before they are read as Rust values.
    let (run, into) = unsafe {
        ptr::write_bytes(into, 0, length);
        (&mut *user.cast::<Run<'_>>(), slice::from_raw_parts_mut(into.cast::<u8>(), length))
    };
    // a panic must not reach C
    let read = catch_unwind(AssertUnwindSafe(|| {
        loop {
            match run.source.read(into) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }));
    let Ok(Ok(read)) = read else {
        run.stopped.get_or_insert(Unreadable::Internal);
        return -1;
    };
    run.bytes += read as u64;
    if run.bytes > MAX_BYTES {
        run.stopped.get_or_insert(Unreadable::Internal);
        return -1;
    }
    c_int::try_from(read).unwrap_or(-1)
}

unsafe extern "C" fn doctype(
    user: *mut c_void,
    _name: *const c::xmlChar,
    _public_id: *const c::xmlChar,
    _system_id: *const c::xmlChar,
) {
    // SAFETY: `user` is the `Run` of `validate_stream`, whose parser is running.
    unsafe { (*user.cast::<Run<'_>>()).stop(Unreadable::Doctype) }
}

unsafe extern "C" fn start(
    user: *mut c_void,
    name: *const c::xmlChar,
    _prefix: *const c::xmlChar,
    _uri: *const c::xmlChar,
    _namespaces: c_int,
    _namespace: *mut *const c::xmlChar,
    attributes: c_int,
    _defaulted: c_int,
    attribute: *mut *const c::xmlChar,
) {
    // SAFETY: `user` is the `Run` of `validate_stream`; names are NUL-terminated and belong to the parser's
    // dictionary, so that equal ones have one address; each attribute is five pointers: name, prefix, name
    // space, start and end of its value.
    unsafe {
        let run = &mut *user.cast::<Run<'_>>();
        run.track.start(name as usize, std::ffi::CStr::from_ptr(name.cast()).to_bytes());
        if run.track.depth() > MAX_DEPTH {
            run.stop(Unreadable::Internal);
            return;
        }
        for number in 0..usize::try_from(attributes).unwrap_or(0) {
            let at = attribute.add(number * 5);
            let (name, value, end) = (*at, *at.add(3), *at.add(4));
            if name.is_null() || value.is_null() || end.is_null() {
                continue;
            }
            let length = usize::try_from(end.offset_from(value)).unwrap_or(0);
            let name = std::ffi::CStr::from_ptr(name.cast()).to_bytes();
            run.track.attribute(name, slice::from_raw_parts(value, length));
        }
    }
}

unsafe extern "C" fn end(
    user: *mut c_void,
    _name: *const c::xmlChar,
    _prefix: *const c::xmlChar,
    _uri: *const c::xmlChar,
) {
    // SAFETY: `user` is the `Run` of `validate_stream`.
    unsafe { (*user.cast::<Run<'_>>()).track.end() }
}

unsafe extern "C" fn text(user: *mut c_void, text: *const c::xmlChar, length: c_int) {
    let Ok(length) = usize::try_from(length) else { return };
    if text.is_null() {
        return;
    }
    // SAFETY: `user` is the `Run` of `validate_stream`; libxml2 gives `length` bytes.
    unsafe { (*user.cast::<Run<'_>>()).track.text(slice::from_raw_parts(text, length)) }
}

unsafe extern "C" fn collect(user: *mut c_void, error: c::xmlErrorPtr) {
    if user.is_null() || error.is_null() {
        return;
    }
    // SAFETY: `user` is the `Run` of `validate_stream`, `error` is libxml2's own.
    unsafe {
        let run = &mut *user.cast::<Run<'_>>();
        if !run.track.violation((*error).code, owned((*error).message)) {
            run.enough = true;
            c::xmlStopParser(run.parser);
        }
    }
}

/// The first error of the parser itself ends it; later ones would only tell what follows from it.
unsafe extern "C" fn malformed(user: *mut c_void, error: c::xmlErrorPtr) {
    if user.is_null() || error.is_null() {
        return;
    }
    // SAFETY: `user` is the `Run` of `validate_stream`, whose parser is running; `error` is libxml2's own.
    unsafe {
        if (*error).level >= c::xmlErrorLevel_XML_ERR_ERROR {
            let line = u32::try_from((*error).line).unwrap_or(0);
            (*user.cast::<Run<'_>>()).stop(Unreadable::Malformed(line));
        }
    }
}

/// Frees the parser, its input and the validator, in this order.
struct Contexts {
    parser: c::xmlParserCtxtPtr,
    validator: c::xmlSchemaValidCtxtPtr,
}

impl Drop for Contexts {
    fn drop(&mut self) {
        // SAFETY: owned, freed once; both functions accept null.
        unsafe {
            c::xmlFreeParserCtxt(self.parser);
            c::xmlSchemaFreeValidCtxt(self.validator);
        }
    }
}

impl Schema {
    /// Judges a document in UTF-8 while it is read: an empty list means valid. After as many violations as are
    /// kept, the rest is not read.
    pub(crate) fn validate_stream(&self, source: &mut dyn Read) -> Result<Vec<Violation>, Unreadable> {
        init();
        let options = c::xmlParserOption_XML_PARSE_NONET
            | c::xmlParserOption_XML_PARSE_NOERROR
            | c::xmlParserOption_XML_PARSE_NOWARNING
            | c::xmlParserOption_XML_PARSE_BIG_LINES;
        let mut run = Run {
            source,
            bytes: 0,
            track: Track::default(),
            parser: ptr::null_mut(),
            stopped: None,
            enough: false,
        };
        // SAFETY: see the module. All null is a valid handler: nobody listens. The parser gets its own handler
        // back before it is freed, so that it does not free ours; `run` and `ours` outlive the parse.
        let (well_formed, valid) = unsafe {
            let mut ours: c::xmlSAXHandler = std::mem::zeroed();
            ours.initialized = c::XML_SAX2_MAGIC;
            ours.internalSubset = Some(doctype);
            ours.startElementNs = Some(start);
            ours.endElementNs = Some(end);
            ours.characters = Some(text);
            ours.ignorableWhitespace = Some(text);
            ours.cdataBlock = Some(text);
            let contexts = Contexts {
                parser: c::xmlNewParserCtxt(),
                validator: c::xmlSchemaNewValidCtxt(self.0.as_ptr()),
            };
            let (parser, validator) = (contexts.parser, contexts.validator);
            if parser.is_null() || validator.is_null() {
                return Err(Unreadable::Internal);
            }
            run.parser = parser;
            let user: *mut c_void = ptr::from_mut(&mut run).cast();
            c::xmlCtxtUseOptions(parser, options.cast_signed());
            let utf8 = c::xmlCharEncoding_XML_CHAR_ENCODING_UTF8;
            let buffer = c::xmlParserInputBufferCreateIO(Some(read), None, user, utf8);
            if buffer.is_null() {
                return Err(Unreadable::Internal);
            }
            let stream = c::xmlNewIOInputStream(parser, buffer, utf8);
            if stream.is_null() {
                c::xmlFreeParserInputBuffer(buffer);
                return Err(Unreadable::Internal);
            }
            if c::inputPush(parser, stream) < 0 {
                return Err(Unreadable::Internal);
            }
            c::xmlSchemaSetValidStructuredErrors(validator, Some(collect), user);
            let theirs = ((*parser).sax, (*parser).userData);
            (*parser).sax = &raw mut ours;
            (*parser).userData = user;
            let plug = c::xmlSchemaSAXPlug(validator, &raw mut (*parser).sax, &raw mut (*parser).userData);
            if !plug.is_null() {
                c::xmlSetStructuredErrorFunc(user, Some(malformed));
                c::xmlParseDocument(parser);
                c::xmlSetStructuredErrorFunc(ptr::null_mut(), None);
            }
            let well_formed = !plug.is_null() && (*parser).wellFormed == 1 && (*parser).nsWellFormed == 1;
            let valid = c::xmlSchemaIsValid(validator) == 1;
            c::xmlSchemaSAXUnplug(plug);
            ((*parser).sax, (*parser).userData) = theirs;
            (well_formed, valid)
        };
        match run.stopped {
            Some(why) => Err(why),
            None if run.enough => Ok(run.track.finish()),
            None if !well_formed => Err(Unreadable::Malformed(0)),
            None => match run.track.finish() {
                none if valid && none.is_empty() => Ok(none),
                some if !some.is_empty() => Ok(some),
                _ => Err(Unreadable::Internal),
            },
        }
    }
}
