//! The state between runs: one file in a folder that only we can write.

use crate::files;
use crate::ledger;
use crate::say;
use anyhow::{Context as _, bail};
use gpu_session_core::state::State;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::fs::{DirBuilder, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a second run waits for the first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Largest state that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What keeps two runs apart.
const LOCK: &str = "lock";

/// The state, and one that was set aside.
const STATE: [&str; 2] = ["state.json", "state.json.damaged"];

/// The state folder, held by this run alone.
#[derive(Debug)]
pub struct StateFolder {
    folder: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
}

impl StateFolder {
    /// Makes the folder where it is missing, checks whose it is, and waits briefly for another run to end.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        make(folder).with_context(|| {
            format!("state folder {shown}: cannot be made; name another with --state-dir")
        })?;
        check_owner(folder)?;
        let path = folder.join(LOCK);
        let begin = Instant::now();
        loop {
            let lock = open_no_follow(&path, OFlags::RDWR | OFlags::CREATE)
                .with_context(|| format!("state folder {shown}: {} cannot be opened", path.display()))?;
            let held = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            // A purge takes the file away: who holds one that is gone keeps nobody out.
            if held && is_at(&lock, &path) {
                return Ok(Self { folder: folder.to_owned(), _lock: lock });
            }
            if begin.elapsed() > PATIENCE {
                bail!(
                    "another gpu-session-monitor runs on the state folder {shown}; wait for it, or name another with --state-dir"
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(STATE[0])
    }

    /// The state of the run before; a file that is damaged or not ours is set aside, and counting begins anew.
    pub fn load(&self) -> anyhow::Result<State> {
        let path = self.path();
        match read(&path) {
            Ok(None) => Ok(State::default()),
            Ok(Some(state)) => Ok(state),
            Err(problem) => {
                let aside = self.folder.join(STATE[1]);
                std::fs::rename(&path, &aside)
                    .with_context(|| format!("{}: {problem}, and cannot be set aside", path.display()))?;
                let (path, aside) = (path.display(), aside.display());
                say::warn(format_args!("{path}: {problem}; set aside as {aside}, counters begin anew"));
                Ok(State::default())
            }
        }
    }

    /// Writes the state.
    pub fn save(&self, state: &State) -> anyhow::Result<()> {
        let path = self.path();
        files::write_atomically(&path, &state.to_json()?, 0o600)
            .with_context(|| format!("{}: the state cannot be written, so nothing was", path.display()))
    }

    /// Names of the files in it that the program keeps, without the lock.
    pub fn kept(&self) -> Vec<String> {
        let there = |name: &String| std::fs::symlink_metadata(self.folder.join(name)).is_ok();
        kept_names().filter(there).collect()
    }

    /// Removes what the program keeps in it but the lock, and says what that was. Others' files stay.
    pub fn clear(&self) -> anyhow::Result<Vec<String>> {
        let mut removed = Vec::new();
        for name in kept_names() {
            let path = self.folder.join(&name);
            if files::remove(&path).with_context(|| format!("{}: not removed", path.display()))? {
                removed.push(name);
            }
        }
        Ok(removed)
    }

    /// Removes the lock and, where nothing is left in it, the folder. A mount point cannot go, and does no harm.
    pub fn dissolve(self) -> anyhow::Result<()> {
        let lock = self.folder.join(LOCK);
        files::remove(&lock).with_context(|| format!("{}: not removed", lock.display()))?;
        let _ = std::fs::remove_dir(&self.folder);
        Ok(())
    }
}

/// Whether the open file is still the one of this name.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: std::fs::Metadata| (found.dev(), found.ino());
    let (Ok(open), Ok(there)) = (file.metadata(), std::fs::symlink_metadata(path)) else { return false };
    id(open) == id(there)
}

fn kept_names() -> impl Iterator<Item = String> {
    STATE.into_iter().map(str::to_owned).chain(ledger::names())
}

/// Whether a run could use the folder, which may be another run's now.
pub fn check(folder: &Path) -> anyhow::Result<()> {
    check_owner(folder)?;
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).with_context(
        || {
            format!(
                "state folder {0}: it cannot be written; run as its owner, or chown {0}",
                folder.display()
            )
        },
    )
}

/// The state, for a command that only reads; none where there is none that can be read.
pub fn peek(folder: &Path) -> Option<State> {
    read(&folder.join(STATE[0])).ok().flatten()
}

fn read(path: &Path) -> Result<Option<State>, String> {
    let file = match open_no_follow(path, OFlags::RDONLY) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let size = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_BYTES));
    let mut text = Vec::with_capacity(size as usize + 1);
    file.take(MAX_BYTES).read_to_end(&mut text).map_err(|e| e.to_string())?;
    State::from_json(&text).map(Some).map_err(|e| e.to_string())
}

fn open_no_follow(path: &Path, flags: OFlags) -> std::io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))?))
}

fn make(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().mode(0o700).create(folder)
}

/// Another user's folder could hold anything, and that user could change it under us.
fn check_owner(folder: &Path) -> anyhow::Result<()> {
    let metadata = std::fs::metadata(folder)?;
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        bail!(
            "state folder {}: it belongs to uid {owner}, neither ours ({own}) nor root's; chown it, or name another with --state-dir",
            folder.display()
        );
    }
    if metadata.mode() & 0o022 != 0 {
        bail!("state folder {0}: others can write to it; chmod go-w {0}", folder.display());
    }
    Ok(())
}
