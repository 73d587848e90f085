// SPDX-License-Identifier: EUPL-1.2
//! A disk of its own for a test: an ext4 image behind a loop device, which can lose its power and can be full. Needs
//! root; where that is not to be had, [`Disk::new`] says what is missing.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// How long whatever still holds the mounted disk may take to let go.
const LET_GO: Duration = Duration::from_secs(20);

/// `EXT4_IOC_SHUTDOWN` (`_IOR('X', 125, __u32)`) with `EXT4_GOING_FLAGS_NOLOGFLUSH`: nothing that is not on the disk yet
/// gets there, and everyone is told of an error from now on.
const POWER_CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// A mounted disk; unmounted when dropped.
pub struct Disk {
    root: tempfile::TempDir,
    mounted: bool,
}

impl Disk {
    /// A new disk of so many MiB. `Err` with a reason when this machine lends none: no root, no loop device, no ext4.
    ///
    /// # Errors
    /// When the image cannot be written.
    pub fn new(mebibytes: u64) -> Result<Result<Self, String>, Error> {
        let root = tempfile::tempdir()?;
        // A database that runs as a user of its own has to reach it.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o711))?;
        let mut disk = Self { root, mounted: false };
        fs::create_dir(disk.path())?;
        fs::File::create(disk.image())?.set_len(mebibytes << 20)?;
        if let Err(reason) =
            run(Command::new("mkfs.ext4").args(["-q", "-b", "4096", "-m", "0"]).arg(disk.image()))
        {
            return Ok(Err(reason));
        }
        Ok(disk.mount().map(|()| disk))
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("platte")
    }

    fn image(&self) -> PathBuf {
        self.root.path().join("platte.img")
    }

    /// Takes the disk's power away. Whoever uses it should be killed afterwards.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn cut_power(&self) -> Result<(), Error> {
        Ok(run(Command::new("python3").args(["-c", POWER_CUT]).arg(self.path()))?)
    }

    /// Has the disk come back as after a restart of the machine: what was not written is gone.
    ///
    /// # Errors
    /// When somebody holds the disk for too long, or it does not come back.
    pub fn restore_power(&mut self) -> Result<(), Error> {
        self.unmount()?;
        Ok(self.mount()?)
    }

    /// Leaves only so many bytes free, at most; [`Disk::empty`] gives them back.
    ///
    /// # Errors
    /// When it cannot be filled.
    pub fn fill(&self, free: u64) -> Result<(), Error> {
        let mut reason = String::new();
        for _ in 0..100 {
            let length = self.available()?.saturating_sub(free);
            if length == 0 {
                return Ok(());
            }
            let filled = fs::metadata(self.ballast()).map_or(0, |ballast| ballast.len());
            let mut fallocate = Command::new("fallocate");
            fallocate.args(["--offset", &filled.to_string(), "--length", &length.to_string()]);
            // Whoever writes beside may have been faster; then there is less left to take.
            reason = run(fallocate.arg(self.ballast())).err().unwrap_or_default();
        }
        Err(format!("nicht zu füllen: {reason}").into())
    }

    /// Bytes that files may still take.
    fn available(&self) -> Result<u64, Error> {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(self.path()).output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(text.lines().last().unwrap_or_default().trim().parse()?)
    }

    /// Removes what [`Disk::fill`] put there.
    ///
    /// # Errors
    /// When it was not filled.
    pub fn empty(&self) -> Result<(), Error> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        let until = Instant::now() + LET_GO;
        loop {
            match run(Command::new("umount").arg(self.path())) {
                Ok(()) => break,
                Err(reason) if Instant::now() > until => return Err(reason),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            let _detached = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

/// Moves a folder that is to be on the disk there, and leaves a link in its place.
///
/// # Errors
/// When the folder is there already.
pub fn link_to_disk(disk: &Disk, folder: &Path) -> Result<(), Error> {
    let name = folder.file_name().ok_or("kein Ordnername")?;
    let target = disk.path().join(name);
    fs::create_dir(&target)?;
    // The folder itself is older than the power cut.
    fs::File::open(disk.path())?.sync_all()?;
    Ok(std::os::unix::fs::symlink(target, folder)?)
}

/// Runs a command to its end; what it complained about when it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
