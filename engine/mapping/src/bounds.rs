// SPDX-License-Identifier: EUPL-1.2
//! The limits of a script, in one place.

/// Steps of one run.
pub(crate) const OPERATIONS: u64 = 1_000_000;
/// Nested calls of script functions.
pub(crate) const CALL_LEVELS: usize = 32;
/// Nesting of expressions, at the top and in functions. XBau 0200 nests 11 maps, about 4 levels each.
pub(crate) const EXPR_DEPTHS: (usize, usize) = (256, 128);
/// Variables at a time.
pub(crate) const VARIABLES: usize = 500;
/// Functions of one script or module.
pub(crate) const FUNCTIONS: usize = 200;
/// Modules of one script.
pub(crate) const MODULES: usize = 16;
/// Bytes of one text.
pub(crate) const STRING_BYTES: usize = 1 << 20;
/// Entries of one list, with all lists in it.
pub(crate) const ARRAY_SIZE: usize = 10_000;
/// Entries of one map, with all maps in it.
pub(crate) const MAP_SIZE: usize = 5_000;
/// Bytes of one script or module.
pub(crate) const SCRIPT_BYTES: usize = 1 << 20;

/// Depth of a result.
pub(crate) const RESULT_DEPTH: usize = 64;
/// Values in a result.
pub(crate) const RESULT_NODES: usize = 200_000;
/// Bytes of text in a result.
pub(crate) const RESULT_BYTES: usize = 16 << 20;

/// Reads that are kept.
pub(crate) const READS: usize = 20_000;
/// Printed lines that are kept, and bytes of one.
pub(crate) const PRINTS: usize = 200;
/// Bytes of a printed line that are kept.
pub(crate) const PRINT_BYTES: usize = 1_000;
/// Files that a script may make parts of the Sendung.
pub(crate) const FILES: usize = 1_000;
/// Key positions that are kept.
pub(crate) const KEY_POSITIONS: usize = 20_000;

/// Bytes of one table.
pub(crate) const TABLE_BYTES: usize = 4 << 20;
/// Rows of one table.
pub(crate) const TABLE_ROWS: usize = 100_000;
/// Columns of one table.
pub(crate) const TABLE_COLUMNS: usize = 64;

/// Virtual stack of a script thread: ten thousand nested lists are printed and dropped recursively by Rhai.
/// Only touched pages cost memory.
pub(crate) const STACK_BYTES: usize = 256 << 20;
