// SPDX-License-Identifier: EUPL-1.2
//! The scripts that are in use, by what they were compiled from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use kop_core::ContentHash;

use crate::script::{Script, ScriptSource};

/// Remembers scripts for as long as somebody holds them.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<HashMap<ContentHash, Weak<Script>>>);

/// What tells scripts apart: texts, and the names that diagnostics and imports use.
pub(crate) fn key(source: &ScriptSource) -> ContentHash {
    let main = [(source.file.as_str(), source.text.as_bytes())];
    let modules = source
        .modules
        .iter()
        .flat_map(|module| [(module.name.as_str(), module.file.as_bytes()), ("", module.text.as_bytes())]);
    ContentHash::of_parts(main.into_iter().chain(modules))
}

impl Compiled {
    pub(crate) fn get(&self, key: &ContentHash) -> Option<Arc<Script>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key)?.upgrade()
    }

    pub(crate) fn keep(&self, key: ContentHash, script: &Arc<Script>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, script| script.strong_count() > 0);
        held.insert(key, Arc::downgrade(script));
    }
}
