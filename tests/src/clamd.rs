// SPDX-License-Identifier: EUPL-1.2
//! A real clamd on a socket of its own that knows the EICAR test text and nothing else. Ended by its pid.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Error;

/// The EICAR test text, put together here so that no scanner stumbles over this file.
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// A clamd.
pub struct Clamd {
    child: Child,
    socket: PathBuf,
}

impl Clamd {
    /// Starts one in a folder, with its signatures below it. `None` where clamd is not installed and need not be.
    ///
    /// # Errors
    /// It does not start, or is missing although `KOP_REQUIRE_SHARED` wants everything.
    pub fn start(folder: &Path) -> Result<Option<Self>, Error> {
        let program =
            ["/usr/sbin/clamd", "/usr/bin/clamd"].into_iter().find(|path| Path::new(path).is_file());
        let Some(program) = program else {
            if std::env::var_os("KOP_REQUIRE_SHARED").is_some() {
                return Err("clamav-daemon fehlt".into());
            }
            eprintln!("ÜBERSPRUNGEN: clamav-daemon fehlt");
            return Ok(None);
        };
        let signatures = folder.join("db");
        fs::create_dir_all(&signatures)?;
        let hex = eicar().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        fs::write(signatures.join("eigen.ndb"), format!("Kop.Test.Eicar:0:0:{hex}\n"))?;
        let socket = folder.join("clamd.ctl");
        // A killed one leaves its socket behind.
        let _none = fs::remove_file(&socket);
        let config = format!(
            "LocalSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\nForeground yes\nAlertEncrypted yes\n\
             AlertExceedsMax yes\n",
            socket.display(),
            signatures.display(),
            folder.display()
        );
        fs::write(folder.join("clamd.conf"), config)?;
        let child = Command::new(program)
            .arg("-c")
            .arg(folder.join("clamd.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let running = Self { child, socket };
        let until = Instant::now() + Duration::from_secs(60);
        while !running.socket.exists() {
            if Instant::now() > until {
                return Err("clamd startet nicht".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(running))
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}
