// SPDX-License-Identifier: EUPL-1.2
//! A PostgreSQL server of one's own for tests: a folder, a socket and a free port of its own, started by pid and
//! stopped when it is dropped. For tests only.

use std::{
    env, fs, io,
    net::TcpListener,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

/// Debian's folders of server programs, newest last.
const PROGRAMS: &str = "/usr/lib/postgresql";

/// A running server.
pub struct TestPostgres {
    // Above the system's temporary folder, which not every user may enter.
    folder: TempDir,
    data: PathBuf,
    programs: PathBuf,
    port: u16,
    /// Of its first process; 0 while none is known.
    pid: AtomicU32,
}

impl TestPostgres {
    /// Starts a server. `None`, said aloud, when PostgreSQL is not installed.
    ///
    /// # Panics
    /// When it is missing although `KOP_REQUIRE_SHARED=1` demands everything, or does not start.
    pub fn start() -> Option<Self> {
        Self::start_on(None)
    }

    /// As [`TestPostgres::start`], with its data below a folder: that of a disk which can be full or lose its power. What
    /// is there when this returns is synced.
    ///
    /// # Panics
    /// As there.
    pub fn start_on(disk: Option<&Path>) -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                env::var_os("KOP_REQUIRE_SHARED").is_none_or(|v| v != "1"),
                "PostgreSQL fehlt, wird aber verlangt"
            );
            #[allow(clippy::print_stderr, reason = "a skipped test has to be visible")]
            {
                eprintln!("ÜBERSPRUNGEN: PostgreSQL fehlt (Debian: postgresql)");
            }
            return None;
        };
        let server = Self::created(programs, disk).expect("a PostgreSQL server for the test");
        server.up().expect("the server starts");
        Some(server)
    }

    fn created(programs: PathBuf, disk: Option<&Path>) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("kop-pg-").tempdir()?;
        let data = disk.unwrap_or(folder.path()).join("data");
        fs::create_dir(&data)?;
        if let Some((user, group)) = unprivileged()? {
            chown(folder.path(), Some(user), Some(group))?;
            chown(&data, Some(user), Some(group))?;
        }
        // Free when asked; the socket in the folder is what matters, the port only has to be another than others'.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Self { folder, data, programs, port, pid: AtomicU32::new(0) };
        let mut args = vec!["-A", "trust", "-U", "kop", "-E", "UTF8", "--locale=C.UTF-8"];
        if disk.is_none() {
            args.push("--no-sync");
        }
        server.run("initdb", &args)?;
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nmax_connections = 200\n",
            server.folder.path().display()
        );
        let file = server.data.join("postgresql.conf");
        let mut text = fs::read_to_string(&file)?;
        text.push_str(&settings);
        fs::write(&file, text)?;
        Ok(server)
    }

    /// Starts the server that was stopped.
    ///
    /// # Errors
    /// When it does not start within its own time limit.
    pub fn up(&self) -> io::Result<()> {
        let log = self.folder.path().join("log");
        if self.pid.load(Ordering::Relaxed) == 0 {
            // Killed: its number may still be taken, by what is left of it until somebody looks; after a real power cut
            // it would be free.
            let socket = self.folder.path().join(format!(".s.PGSQL.{}.lock", self.port));
            for lock in [self.data.join("postmaster.pid"), socket] {
                let _never_there = fs::remove_file(lock);
            }
        }
        self.run("pg_ctl", &["-w", "-s", "-l", &log.display().to_string(), "start"])?;
        let said = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let pid = said.lines().next().and_then(|line| line.trim().parse().ok());
        self.pid.store(pid.ok_or_else(|| io::Error::other("keine Prozessnummer"))?, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the server runs. It ends by itself when it cannot write its log.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn is_up(&self) -> io::Result<bool> {
        Ok(self.run("pg_ctl", &["-s", "status"]).is_ok())
    }

    /// Ends the server's first process at once (SIGKILL), as a power cut would; the others notice and end. It may have
    /// ended by itself. What it wrote to its disk may be out of reach by now, so the process is known from before.
    ///
    /// # Errors
    /// When it was not started, or no signal can be sent.
    pub fn kill(&self) -> io::Result<()> {
        let pid = self.pid.swap(0, Ordering::Relaxed);
        if pid == 0 {
            return Err(io::Error::other("nicht gestartet"));
        }
        Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status().map(drop)
    }

    /// Its last lines of log, for whoever wonders why it ended.
    pub fn printed(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let from = text.lines().count().saturating_sub(20);
        text.lines().skip(from).collect::<Vec<_>>().join("\n")
    }

    /// Stops the server; `mode` is pg_ctl's: `fast`, or `immediate` as after a crash.
    ///
    /// # Errors
    /// When it does not run.
    pub fn down(&self, mode: &str) -> io::Result<()> {
        self.run("pg_ctl", &["-w", "-s", "-m", mode, "stop"])
    }

    /// Makes an empty database and gives its address.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn database(&self, name: &str) -> String {
        let socket = self.folder.path().display().to_string();
        let made = Command::new(self.programs.join("createdb"))
            .args(["-h", &socket, "-p", &self.port.to_string(), "-U", "kop", name])
            .stdin(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()), "createdb {name}");
        format!("postgresql://kop@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs one of the server's programs on the data folder, as the user that may.
    fn run(&self, program: &str, args: &[&str]) -> io::Result<()> {
        let mut command = match unprivileged()? {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
                command.arg(self.programs.join(program));
                command
            }
            None => Command::new(self.programs.join(program)),
        };
        let done = command
            .arg("-D")
            .arg(&self.data)
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other(format!("{program}: {done}"))) }
    }
}

impl Drop for TestPostgres {
    fn drop(&mut self) {
        let _ = self.down("immediate");
    }
}

/// The newest installed server's programs.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(PROGRAMS).ok()?.flatten().map(|entry| entry.path().join("bin")).collect();
    found.retain(|folder| folder.join("initdb").is_file());
    found.sort();
    found.pop()
}

/// PostgreSQL refuses to run as root: then the user that Debian's package made, as numbers.
fn unprivileged() -> io::Result<Option<(u32, u32)>> {
    if fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string(Path::new("/etc/passwd"))?;
    let ids = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.map(Some).ok_or_else(|| io::Error::other("kein Benutzer postgres"))
}
