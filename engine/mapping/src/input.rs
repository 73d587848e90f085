// SPDX-License-Identifier: EUPL-1.2
//! What a run is given and what it gives back: plain data, no engine.

use std::{collections::BTreeMap, sync::Arc};

use kop_core::{Eingang, Tree, Zeitpunkt, diagnostic::Place};
use uuid::Uuid;

use crate::{keys::KeyPositions, run::Reads, tables::Tables};

/// Everything that a script may see. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RunInput {
    /// The submission.
    pub eingang: Arc<Eingang>,
    /// Tables of the mapping with the tenant's overlay.
    pub tables: Arc<Tables>,
    /// Parameters by name, already layered: mapping, tenant, route.
    pub parameters: Arc<BTreeMap<String, String>>,
    /// What `heute()` and `jetzt()` say.
    pub now: Zeitpunkt,
}

/// What a run gives back.
#[derive(Clone, Debug)]
pub struct RunOutput {
    /// The script's value.
    pub tree: Tree,
    /// Files that the script made parts of the Sendung, in the order of the first calls.
    pub files: Vec<FileUse>,
    /// Reads of the submission in their order.
    pub reads: Reads,
    /// Lines that the script printed; at most 200, the last one says so when there were more.
    pub prints: Vec<String>,
    /// Where the keys of the tree stand in the script.
    pub keys: Arc<KeyPositions>,
}

/// Which list of the submission a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileList {
    /// Uploads of the applicant.
    Anlagen,
    /// Renderings of the form and the vendor's data files.
    Repraesentationen,
}

/// One file that the script made a part of the Sendung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUse {
    /// The list the file is in.
    pub list: FileList,
    /// Its number in that list, from 0.
    pub index: usize,
    /// Safe name, unique within the Sendung, also where case does not count.
    pub name: String,
    /// Stays the same for the same file of the same Vorgang.
    pub document_id: Uuid,
}

/// One read of the submission by the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Full field path from the root of the form, as in [`kop_core::path`]. A path that begins with `@` lies
    /// outside the form's fields: `@antragsteller/nachname`, `@vorgangsnummer`, `@anlagen`.
    pub path: String,
    /// What the citizen saw beside the field, where the form says so.
    pub label: Option<String>,
    /// Where the script read it (no snippet).
    pub place: Option<Place>,
    /// Whether there was a value.
    pub present: bool,
    /// Whether the script got the value itself, and not only that it is there.
    pub valued: bool,
}
