// SPDX-License-Identifier: EUPL-1.2
//! A RabbitMQ broker of one's own for tests: folder, ports, node name and port mapper of its own, each ended by pid.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::Error;

/// Debian's folder of broker versions.
const PROGRAMS: &str = "/usr/lib/rabbitmq/lib";
/// A broker under load takes its time.
const READY: Duration = Duration::from_secs(300);

/// A running broker.
pub struct Rabbitmq {
    folder: tempfile::TempDir,
    server: PathBuf,
    user: Option<(u32, u32)>,
    ports: [u16; 3],
    node: Option<Child>,
    mapper: Child,
}

impl Rabbitmq {
    /// Starts a broker. `None`, said aloud, when RabbitMQ is not installed.
    ///
    /// # Errors
    /// When it does not start.
    ///
    /// # Panics
    /// When it is missing although `KOP_REQUIRE_SHARED=1` demands everything.
    pub fn start() -> Result<Option<Self>, Error> {
        let Some(server) = server() else {
            assert!(
                env::var_os("KOP_REQUIRE_SHARED").is_none_or(|v| v != "1"),
                "RabbitMQ fehlt, wird aber verlangt"
            );
            #[allow(clippy::print_stderr, reason = "a skipped test has to be visible")]
            {
                eprintln!("ÜBERSPRUNGEN: RabbitMQ fehlt (Debian: rabbitmq-server)");
            }
            return Ok(None);
        };
        let folder = tempfile::Builder::new().prefix("kop-mq-").tempdir()?;
        let root = fs::metadata("/proc/self")?.uid() == 0;
        let user = if root { Some(account("rabbitmq")?) } else { None };
        let mut ports = [0; 3];
        let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        for (port, listener) in ports.iter_mut().zip(&held) {
            *port = listener.local_addr()?.port();
        }
        drop(held);
        for name in ["mnesia", "log"] {
            fs::create_dir(folder.path().join(name))?;
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(
            folder.path().join("rabbitmq.conf"),
            format!("listeners.tcp.1 = 127.0.0.1:{}\nlog.console = true\n", ports[0]),
        )?;
        fs::write(folder.path().join("enabled_plugins"), "[].\n")?;
        if let Some((uid, gid)) = user {
            for entry in [".", "mnesia", "log", "rabbitmq.conf", "enabled_plugins"] {
                chown(folder.path().join(entry), Some(uid), Some(gid))?;
            }
        }
        let mapper = as_user(user, Path::new("epmd"))
            .args(["-port", &ports[2].to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut broker = Self { folder, server, user, ports, node: None, mapper };
        broker.up()?;
        Ok(Some(broker))
    }

    /// The broker's address.
    pub fn address(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports[0])
    }

    /// Starts the node (again) and waits until it answers.
    ///
    /// # Errors
    /// When it does not within its time; the text carries its log's end.
    pub fn up(&mut self) -> Result<(), Error> {
        let folder = self.folder.path();
        let path = |name: &str| folder.join(name).display().to_string();
        let out = fs::File::create(folder.join("stdout.log"))?;
        let node = as_user(self.user, &self.server)
            .env("HOME", folder)
            .env("RABBITMQ_NODENAME", format!("kop{}@localhost", self.ports[0]))
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_DIST_PORT", self.ports[1].to_string())
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.ports[2].to_string())
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        self.node = Some(node);
        let until = Instant::now() + READY;
        while Instant::now() < until {
            if self.answers() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = fs::read_to_string(folder.join("stdout.log")).unwrap_or_default();
        Err(format!(
            "RabbitMQ antwortet nicht: {}",
            log.chars().rev().take(2000).collect::<String>().chars().rev().collect::<String>()
        )
        .into())
    }

    /// Ends the node at once (SIGKILL).
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<(), Error> {
        if let Some(mut node) = self.node.take() {
            // The script may have left its place to the program, or wait for it.
            if let Ok(pid) = fs::read_to_string(self.folder.path().join("pid")) {
                let _ = Command::new("kill").args(["-KILL", pid.trim()]).stderr(Stdio::null()).status();
            }
            let _already_gone = node.kill();
            node.wait()?;
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.ports[0])) else { return false };
        let mut answer = [0; 8];
        stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
            && stream.write_all(b"AMQP\x00\x00\x09\x01").is_ok()
            && stream.read(&mut answer).is_ok_and(|read| read > 0)
    }
}

impl Drop for Rabbitmq {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = self.mapper.kill();
        let _ = self.mapper.wait();
    }
}

fn as_user(user: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((uid, gid)) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"]).arg(program);
    command
}

fn server() -> Option<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(PROGRAMS)
        .ok()?
        .flatten()
        .map(|entry| entry.path().join("sbin/rabbitmq-server"))
        .collect();
    found.retain(|program| program.is_file());
    found.sort();
    found.pop()
}

/// User and group of a service, as numbers.
fn account(name: &str) -> Result<(u32, u32), Error> {
    let users = fs::read_to_string("/etc/passwd")?;
    let ids = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix(name)?.strip_prefix(':')?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    ids.ok_or_else(|| format!("kein Benutzer {name}").into())
}
