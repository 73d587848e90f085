// SPDX-License-Identifier: EUPL-1.2
//! A process that takes applications in: `kop serve` on an instance made for load, or the floor.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use crate::{
    Error,
    instance::{copy_folder, workspace},
};

/// The tenant's folder of the only receiver.
const OUT: &str = "ausgang/bauaufsicht";
const CONFIG: &str = "mandanten/musterstadt/mandant.toml";

/// The example with one route to one receiver, and a mapping whose message names no file: what is measured is the
/// message.
pub struct LoadInstance {
    root: PathBuf,
}

impl LoadInstance {
    /// A fresh one below a folder, where it stays: ext4 makes files slowly in the minutes after many were deleted.
    /// `receiver`: over HTTP to there; without it into folders.
    ///
    /// # Errors
    /// When the example is not what it was.
    pub fn new(below: &Path, receiver: Option<SocketAddr>) -> Result<Self, Error> {
        let root = tempfile::tempdir_in(below)?.keep();
        let own = Self { root };
        let example = workspace().join("examples/musterstadt");
        let mapping = own.folder().join("mandanten/musterstadt/zuordnungen/bauantrag-xbau");
        copy_folder(&workspace().join("mappings/bauantrag-xbau"), &mapping)?;
        for library in ["mappings", "xoev-schemas"] {
            std::os::unix::fs::symlink(workspace().join(library), own.root.join(library))?;
        }
        fs::copy(example.join("kop.toml"), own.folder().join("kop.toml"))?;
        let mut config = replaced(
            &fs::read_to_string(example.join(CONFIG))?,
            "[[route.ziel]]\nzuordnung = \"vorgang-xdomea-ablegen\"\nempfaenger = [\"dms\"]\n\
             parameter = { ablageort = \"//dateien/dms-eingang/{vorgangsnummer}\" }\n",
            "",
        )?;
        if let Some(address) = receiver {
            config = replaced(
                &config,
                "art = \"ordner\"\npfad = \"ausgang/bauaufsicht\"",
                &format!("art = \"http\"\nurl = \"http://{address}/annahme\"\nwiederholbar = true"),
            )?;
        }
        fs::write(own.folder().join(CONFIG), config)?;
        let script = mapping.join("mapping.rhai");
        let text = replaced(
            &fs::read_to_string(&script)?,
            "let anlagen = xbau::anlagen();",
            "let anlagen = [#{\n    bezeichnung: \"Lageplan\", versionsnummer: \"1\", datum: eingang.eingangsdatum,\n    \
             anlageart: #{ code: \"1101\", \"@listURI\": \"urn:xoev-de:xbau:codeliste:anlagen\" },\n    \
             mimeType: #{ code: \"application/pdf\", \"@listURI\": \"urn:xoev-de:xbau:codeliste:xbau-mimetypes\" },\n    \
             \"anhangOderVerlinkung/anhang\": #{\n        dokumentid: stabile_uuid(\"lageplan\"),\n        \
             dateiname: stabile_uuid(\"lageplan\") + \"_Lageplan.pdf\"\n    }\n}];",
        )?;
        fs::write(script, text)?;
        Ok(own)
    }

    /// The instance's folder.
    pub fn folder(&self) -> PathBuf {
        self.root.join("examples/musterstadt")
    }

    /// Where the data are.
    pub fn data(&self) -> PathBuf {
        self.folder().join("daten")
    }

    /// Starts the program on it.
    ///
    /// # Errors
    /// When it does not listen within twenty seconds.
    pub fn serve(&self, kop: &Path) -> Result<Running, Error> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(kop);
        command.arg("--instanz").arg(self.folder()).args(["serve", "--adresse", &address.to_string()]);
        Running::start(&mut command, address, self.root.join("serve.log"))
    }

    /// Writes the tenant's configuration anew, changed by nothing but a comment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn touch(&self, remark: &str) -> Result<(), Error> {
        let path = self.folder().join(CONFIG);
        let text = fs::read_to_string(&path)?;
        fs::write(path, format!("{text}\n# {remark}\n"))?;
        let script = self.folder().join("mandanten/musterstadt/zuordnungen/bauantrag-xbau/mapping.rhai");
        let text = fs::read_to_string(&script)?;
        Ok(fs::write(script, format!("// {remark}\n{text}"))?)
    }

    /// How many Sendungen lie finished in the receiver's folder.
    pub fn finished(&self) -> usize {
        fs::read_dir(self.folder().join(OUT)).map_or(0, |entries| {
            // Work in progress begins with a dot.
            entries.flatten().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
        })
    }

    /// When which Vorgangsnummer was finished.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn finished_at(&self) -> Result<Vec<(String, SystemTime)>, Error> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.folder().join(OUT))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (Some(number), Ok(marker)) =
                (super::receiver::number(name.as_bytes()), fs::metadata(entry.path().join(".fertig")))
            {
                found.push((number, marker.modified()?));
            }
        }
        Ok(found)
    }
}

/// A process that serves; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Running {
    /// Starts a command and waits until it listens.
    ///
    /// # Errors
    /// When it does not within twenty seconds.
    pub fn start(command: &mut Command, address: SocketAddr, log: PathBuf) -> Result<Self, Error> {
        let out = fs::File::create(&log)?;
        let child = command
            .env("KOP_AFM_PASSWORT", "nur-zum-testen")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        let running = Self { child, log, address };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until {
                return Err(format!("es antwortet nicht: {}", running.printed()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(running)
    }

    /// What it printed.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The most memory that it held so far, in MB.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn memory(&self) -> Result<f64, Error> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("VmHWM")?;
        let kib: f64 = line.split_whitespace().next().ok_or("VmHWM")?.parse()?;
        Ok(kib * 1.024 / 1000.0)
    }

    /// Has it read its tenants anew; the time until it says that it has.
    ///
    /// # Errors
    /// When it does not within ten seconds.
    pub fn reload(&self) -> Result<Duration, Error> {
        let before = self.printed().matches("Reloaded.").count();
        let begin = Instant::now();
        Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status()?;
        while self.printed().matches("Reloaded.").count() == before {
            if begin.elapsed() > Duration::from_secs(10) {
                return Err("es hat nicht neu eingelesen".into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(begin.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn replaced(text: &str, from: &str, to: &str) -> Result<String, Error> {
    if text.contains(from) {
        Ok(text.replace(from, to))
    } else {
        Err(format!("fehlt im Beispiel: {from}").into())
    }
}
