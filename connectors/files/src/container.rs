// SPDX-License-Identifier: EUPL-1.2
//! A Sendung as one ZIP file: written as a stream, the same bytes at every attempt, and compared entry by
//! entry with what a Sendung should be.

use std::{
    fs::File,
    io::{self, BufWriter, Read},
    path::Path,
};

use jiff::tz::TimeZone;
use kop_core::{Part, Sendung};
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::{handover::CHUNK, problem::Failure};

/// From here on an entry needs the 64-bit form, with room for what incompressible content gains.
const LARGE: u64 = 0xF000_0000;

/// The container's name: that of the main document.
pub(crate) fn file_name(main: &Part) -> String {
    let stem = main.name.rsplit_once('.').map_or(main.name.as_str(), |(stem, _)| stem);
    format!("{stem}.zip")
}

/// Writes the container; `copy` puts one part's bytes into the writer it is given.
pub(crate) fn write(
    file: File,
    sendung: &Sendung,
    mut copy: impl FnMut(&Part, &mut dyn io::Write) -> Result<(), Failure>,
) -> Result<File, Failure> {
    let mut zip = ZipWriter::new(BufWriter::with_capacity(CHUNK, file));
    let time = entry_time(sendung);
    for part in sendung.all_parts() {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(time)
            .unix_permissions(0o644)
            .large_file(part.blob.size >= LARGE);
        zip.start_file(part.name.as_str(), options)?;
        copy(part, &mut zip)?;
    }
    let file = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(file)
}

/// When the message was made, as a clock at the Behörde showed it; ZIP knows no time zones.
fn entry_time(sendung: &Sendung) -> DateTime {
    let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
    let made = sendung.created_at.to_zoned(zone);
    let small = |number: i8| u8::try_from(number).unwrap_or_default();
    DateTime::from_date_and_time(
        u16::try_from(made.year()).unwrap_or_default(),
        small(made.month()),
        small(made.day()),
        small(made.hour()),
        small(made.minute()),
        small(made.second()),
    )
    .unwrap_or_default()
}

/// Whether a container holds exactly the parts of a Sendung. It may come from anyone: what is too large to
/// be ours is not opened, and no more is unpacked than a part should hold.
pub(crate) fn holds(path: &Path, sendung: &Sendung) -> io::Result<bool> {
    let parts: Vec<&Part> = sendung.all_parts().collect();
    let file = File::open(path)?;
    let most = parts.iter().fold(1024, |sum: u64, part| {
        // Incompressible content grows by less than a hundredth; names and entry heads come on top.
        sum.saturating_add(part.blob.size).saturating_add(part.blob.size / 100).saturating_add(2048)
    });
    if file.metadata()?.len() > most {
        return Ok(false);
    }
    let Ok(mut archive) = ZipArchive::new(io::BufReader::with_capacity(CHUNK, file)) else {
        return Ok(false);
    };
    if archive.len() != parts.len() {
        return Ok(false);
    }
    for part in parts {
        let Ok(entry) = archive.by_name(&part.name) else { return Ok(false) };
        match same_content(entry, part) {
            Ok(true) => {}
            // A checksum that does not fit is another content, not a broken disk.
            Ok(false) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// Whether a reader gives exactly the bytes of a part.
pub(crate) fn same_content(content: impl Read, part: &Part) -> io::Result<bool> {
    let mut content = content.take(part.blob.size.saturating_add(1));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hasher.finalize().as_slice() == part.blob.sha256.as_bytes())
}
