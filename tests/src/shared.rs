// SPDX-License-Identifier: EUPL-1.2
//! Where the workspace and the reference material lie, and the rule for tests that need the latter.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The workspace's root folder.
///
/// # Panics
/// Never: this crate lies one below the root.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies one below the root")
}

/// The folder of reference material: `KOP_SHARED`, else `../shared` beside the workspace. `None`, said aloud,
/// when it is missing, so that the caller returns.
///
/// # Panics
/// When it is missing although `KOP_REQUIRE_SHARED=1` demands it.
pub fn shared() -> Option<PathBuf> {
    let folder = env::var_os("KOP_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    if folder.join("xoev").is_dir() {
        return Some(folder.canonicalize().expect("the folder exists"));
    }
    assert!(
        env::var_os("KOP_REQUIRE_SHARED").is_none_or(|v| v != "1"),
        "../shared fehlt, wird aber verlangt"
    );
    #[allow(clippy::print_stderr, reason = "a skipped test has to be visible")]
    {
        eprintln!("ÜBERSPRUNGEN: ../shared fehlt");
    }
    None
}
