// SPDX-License-Identifier: EUPL-1.2
//! A running `kop` on a copied example: its own folder, its own port, ended by its pid.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::{Error, workspace};

/// A copy of an example instance in a temporary folder of its own.
pub struct Instance {
    root: tempfile::TempDir,
    name: String,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

impl Instance {
    /// Copies `examples/<name>` and links what its kop.toml refers to by relative path (mappings, schemas).
    ///
    /// # Errors
    /// When the example is missing or the copy fails.
    pub fn of_example(name: &str) -> Result<Self, Error> {
        let root = tempfile::tempdir()?;
        copy_folder(&workspace().join("examples").join(name), &root.path().join("examples").join(name))?;
        for library in ["mappings", "xoev-schemas"] {
            std::os::unix::fs::symlink(workspace().join(library), root.path().join(library))?;
        }
        Ok(Self { root, name: name.to_owned(), binary: kop_binary()?, environment: Vec::new() })
    }

    /// The same instance under another build of the program.
    #[must_use]
    pub fn with_binary(mut self, binary: PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Keeps everything in a PostgreSQL database, with wake-ups over a broker where one is given.
    ///
    /// # Errors
    /// As [`Instance::edit`].
    pub fn with_database(mut self, database: &str, broker: Option<&str>) -> Result<Self, Error> {
        self.environment.push(("KOP_DATENBANK".to_owned(), database.to_owned()));
        self.environment.extend(broker.map(|address| ("KOP_RABBITMQ".to_owned(), address.to_owned())));
        self.edit("kop.toml", |text| {
            let named = "[daten]\ndatenbank = \"env:KOP_DATENBANK\"\n";
            let mut text = if text.contains("[daten]\n") {
                text.replace("[daten]\n", named)
            } else {
                format!("{text}\n{named}")
            };
            if broker.is_some() {
                text.push_str("\n[wecker]\nrabbitmq = \"env:KOP_RABBITMQ\"\n");
            }
            text
        })?;
        Ok(self)
    }

    /// Changes one file of the instance.
    ///
    /// # Errors
    /// When it cannot be read or written, or the change leaves it as it was: then the test would test nothing.
    pub fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) -> Result<(), Error> {
        let path = self.folder().join(file);
        let before = fs::read_to_string(&path)?;
        let after = change(&before);
        if before == after {
            return Err(format!("{file}: nichts geändert").into());
        }
        Ok(fs::write(path, after)?)
    }

    /// Gives the tenant a copy of a shipped mapping as its own, and changes its script; the path of the script.
    ///
    /// # Errors
    /// As [`Instance::edit`].
    pub fn own_mapping(&self, name: &str, change: impl FnOnce(&str) -> String) -> Result<PathBuf, Error> {
        let own = format!("mandanten/musterstadt/zuordnungen/{name}");
        copy_folder(&workspace().join("mappings").join(name), &self.folder().join(&own))?;
        let script = format!("{own}/mapping.rhai");
        self.edit(&script, change)?;
        Ok(self.folder().join(script))
    }

    /// Hands in the example's Bauantrag with another text for its `formData`, by `kop submit`: without a server it is
    /// processed and delivered when this returns. What the program printed.
    ///
    /// # Errors
    /// When the example lacks a file or the program cannot be started.
    pub fn submit_bauantrag(&self, change: impl FnOnce(&str) -> String) -> Result<Output, Error> {
        let payload = tempfile::tempdir_in(self.root.path())?;
        copy_folder(&self.folder().join("eingaenge/ozg-cloud"), payload.path())?;
        let file = payload.path().join("formData.json");
        fs::write(&file, change(&fs::read_to_string(&file)?))?;
        self.kop(&["submit", &file.to_string_lossy()])
    }

    /// Waits until `count` submissions or more are there and none of them is under way any more; the rows of
    /// `kop messages list --json`, the newest first.
    ///
    /// # Errors
    /// When that does not happen within 60 s.
    pub async fn settled(&self, count: usize) -> Result<Vec<serde_json::Value>, Error> {
        let mut last = Vec::new();
        let settled = wait_until("Alle Eingänge sind verarbeitet", Duration::from_secs(60), || {
            let rows = self.kop_json(&["messages", "list"])?;
            let rows = rows.as_array().cloned().unwrap_or_default();
            last.clone_from(&rows);
            let open = |row: &serde_json::Value| {
                // A Klärungsfall is told at once, while other messages of the same application are still on their way.
                let state = row["zustand"].as_str().unwrap_or_default();
                let under_way =
                    row["sendungen"].as_array().into_iter().flatten().any(|one| one["zustand"] == "offen");
                under_way || !["zugestellt", "klaerungsfall", "abgewiesen"].contains(&state)
            };
            Ok((rows.len() >= count && !rows.iter().any(open)).then_some(rows))
        })
        .await;
        settled.map_err(|problem| format!("{problem}: {last:#?}").into())
    }

    /// The finished Sendungen below `ausgang/<receiver>`: directories with their marker.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn delivered(&self, receiver: &str) -> Result<Vec<PathBuf>, Error> {
        let folder = self.folder().join("ausgang").join(receiver);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.join(".fertig").is_file() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// The instance's folder.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("examples").join(&self.name)
    }

    /// Runs `kop --instanz <folder> <args>` to its end.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn kop(&self, args: &[&str]) -> Result<Output, Error> {
        Ok(Command::new(&self.binary)
            .arg("--instanz")
            .arg(self.folder())
            .args(args)
            .env("KOP_AFM_PASSWORT", crate::forms::AFM_PASSWORT)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()?)
    }

    /// As [`Instance::kop`], with `--json`, its standard output read as JSON.
    ///
    /// # Errors
    /// When the program fails or prints something else.
    pub fn kop_json(&self, args: &[&str]) -> Result<serde_json::Value, Error> {
        let mut with_json = args.to_vec();
        with_json.push("--json");
        let output = self.kop(&with_json)?;
        if !output.status.success() {
            return Err(format!("kop {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Starts `kop serve` on a free port and waits until it answers `/healthz` (at most 20 s).
    ///
    /// # Errors
    /// When it ends early or does not answer in time; the text carries what it printed.
    pub async fn serve(&self) -> Result<Server, Error> {
        self.serve_with(&[]).await
    }

    /// As [`Instance::serve`], with more environment variables.
    ///
    /// # Errors
    /// As there.
    pub async fn serve_with(&self, environment: &[(&str, &str)]) -> Result<Server, Error> {
        self.serve_as("alles", environment).await
    }

    /// As [`Instance::serve_with`], doing a part of the work: `eingang`, `arbeit`, or `alles`.
    ///
    /// # Errors
    /// As there.
    pub async fn serve_as(&self, role: &str, environment: &[(&str, &str)]) -> Result<Server, Error> {
        // The port is free when asked; another process may take it before the server does: then try anew.
        let mut last = String::new();
        for attempt in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let log = self.root.path().join(format!("serve-{port}-{attempt}.log"));
            let out = fs::File::create(&log)?;
            let child = Command::new(&self.binary)
                .arg("--instanz")
                .arg(self.folder())
                .args(["serve", "--adresse", &format!("127.0.0.1:{port}"), "--verwaltung", "127.0.0.1:0"])
                .args(["--rolle", role])
                .env("KOP_AFM_PASSWORT", crate::forms::AFM_PASSWORT)
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .envs(environment.iter().copied())
                .stdin(Stdio::null())
                .stdout(out.try_clone()?)
                .stderr(out)
                .spawn()?;
            let mut server =
                Server { child, base: format!("http://127.0.0.1:{port}"), log, client: client()? };
            match server.wait_for_health().await {
                Ok(()) => return Ok(server),
                Err(problem) => last = format!("{problem}\n{}", server.printed()),
            }
        }
        Err(last.into())
    }
}

/// A running server; dropping it kills the process by its pid.
pub struct Server {
    child: Child,
    base: String,
    log: PathBuf,
    client: reqwest::Client,
}

impl Server {
    /// The address up to the path, e.g. `http://127.0.0.1:40123`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The process id, for measuring its memory.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The one client of these tests: with timeouts, without redirects.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Where operators ask, up to the path; the server says it in its log.
    ///
    /// # Errors
    /// When it does not say so.
    pub fn operators(&self) -> Result<String, Error> {
        let printed = self.printed();
        let line =
            printed.lines().find(|line| line.contains("Serving operators")).ok_or("keine Verwaltung")?;
        let at = line.find("127.0.0.1:").ok_or("keine Adresse")?;
        let address: String =
            line[at..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Ok(format!("http://{address}"))
    }

    /// What an operators' address answers: status and text.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn ask(&self, path: &str) -> Result<(u16, String), Error> {
        let answer = self.client.get(format!("{}{path}", self.operators()?)).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// All that the server has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Has the tenants read anew (SIGHUP), as an operator would.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn reload(&self) -> Result<(), Error> {
        let status = Command::new("kill").args(["-HUP", &self.pid().to_string()]).status()?;
        if status.success() { Ok(()) } else { Err("kill -HUP".into()) }
    }

    /// Ends the process at once, as a power cut would (SIGKILL), and waits for its end.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn kill(&mut self) -> Result<(), Error> {
        let _already_gone = self.child.kill();
        self.child.wait()?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM), as a service manager would, and waits until it has; at most 30 s.
    ///
    /// # Errors
    /// When the signal cannot be sent, or it does not end.
    pub async fn stop(&mut self) -> Result<(), Error> {
        let asked = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        if !asked.success() {
            return Err("kill -TERM".into());
        }
        wait_until("der Dienst ist beendet", Duration::from_secs(30), || Ok(self.child.try_wait()?)).await?;
        Ok(())
    }

    async fn wait_for_health(&mut self) -> Result<(), Error> {
        let until = Instant::now() + Duration::from_secs(20);
        let url = format!("{}/healthz", self.base);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("kop serve endete mit {status}").into());
            }
            if self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Err("kop serve antwortet nicht auf /healthz".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.kill();
    }
}

/// Asks `condition` again until it gives a value; fails after `limit`, naming `what`.
///
/// # Errors
/// When the time is over or the condition itself fails.
pub async fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let until = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= until {
            return Err(format!("{what}: nach {limit:?} nicht eingetreten").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The program under test: `KOP_BIN`, else the build beside this test's own binary; built when it is missing.
///
/// # Errors
/// When it can be neither found nor built.
pub fn kop_binary() -> Result<PathBuf, Error> {
    if let Some(given) = env::var_os("KOP_BIN") {
        let given = PathBuf::from(given);
        return if given.is_file() {
            Ok(given)
        } else {
            Err(format!("KOP_BIN: {} fehlt", given.display()).into())
        };
    }
    // target/<profile>/deps/<this test> → target/<profile>/kop
    let own = env::current_exe()?;
    let built = own.parent().and_then(Path::parent).ok_or("unbekannter Bauordner")?.join("kop");
    if !built.is_file() {
        let status = Command::new(env!("CARGO")).args(["build", "--package", "kop-cli"]).status()?;
        if !status.success() || !built.is_file() {
            return Err(format!("{} fehlt und ließ sich nicht bauen", built.display()).into());
        }
    }
    Ok(built)
}

fn client() -> Result<reqwest::Client, Error> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(120))
        .build()?)
}

/// Copies a folder, without what an earlier run left behind (`daten`, `ausgang`).
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).map_err(|e| format!("{}: {e}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if !["daten", "ausgang"].contains(&entry.file_name().to_string_lossy().as_ref()) {
                copy_folder(&entry.path(), &to.join(entry.file_name()))?;
            }
        } else {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
