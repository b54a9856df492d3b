//! Files that are there whole or not at all.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RawMode};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Leftovers of a run that was killed are removed when they are this old.
const LEFTOVER_AGE: Duration = Duration::from_secs(600);

/// What tells one content of the file from another; links are followed, for a mounted ConfigMap is swapped by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of the file as it is now; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let of = std::fs::metadata(path).ok()?;
        let modified = (of.mtime(), of.mtime_nsec());
        Some(Self { device: of.dev(), inode: of.ino(), size: of.size(), modified })
    }
}

/// The bytes of a regular file, up to `most` of them; links are followed. A pipe could keep whoever reads it for ever.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    // Even to open a pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    if file.take(most + 1).read_to_end(&mut bytes)? as u64 > most {
        let said = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, said));
    }
    Ok(bytes)
}

/// Writes `path` anew: a temporary file of a random name in the same folder, opened through the folder's
/// descriptor and never through a link, written, synced, renamed over the target. A link planted at the target
/// is replaced, not followed. On failure the target stays as it was.
pub fn write_atomically(path: &Path, content: &[u8], mode: RawMode) -> io::Result<()> {
    let (folder, name) = split(path)?;
    let folder = open_folder(folder)?;
    remove_leftovers(&folder, name, unix_seconds(LEFTOVER_AGE));
    let temporary = temporary_name(name)?;
    let result = write_new(&folder, &temporary, content, mode)
        .and_then(|()| Ok(rustix::fs::renameat(&folder, &temporary, &folder, name)?));
    if let Err(e) = result {
        let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
        return Err(e);
    }
    Ok(rustix::fs::fsync(&folder)?)
}

/// Removes a file, or the link in its place and not what it leads to, and what runs that were killed left of it. Nobody
/// may be writing it. Whether it was there.
pub fn remove(path: &Path) -> io::Result<bool> {
    let missing = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let (folder, name) = split(path)?;
    let folder = match open_folder(folder) {
        Err(e) if missing(&e) => return Ok(false),
        folder => folder?,
    };
    remove_leftovers(&folder, name, u64::MAX);
    match rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(io::Error::from) {
        Err(e) if missing(&e) => Ok(false),
        done => done.map(|()| true),
    }
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder, name))
}

fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, folder, flags, Mode::empty())?)
}

fn write_new(folder: &OwnedFd, name: &str, content: &[u8], mode: RawMode) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(file);
    file.write_all(content)?;
    // Whatever the umask: node_exporter runs as another user.
    rustix::fs::fchmod(file.as_fd(), Mode::from_raw_mode(mode))?;
    file.sync_all()
}

/// `.<name>.<16 random hex digits>.tmp`: node_exporter reads `*.prom` only.
fn temporary_name(name: &OsStr) -> io::Result<String> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    Ok(format!(".{}.{random:016x}.tmp", name.to_string_lossy()))
}

/// This long ago, in seconds since 1970; 0 where the clock is wrong by more than that.
fn unix_seconds(ago: Duration) -> u64 {
    let then = SystemTime::now().checked_sub(ago).and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
    then.map_or(0, |since| since.as_secs())
}

/// Temporary files of this one that were written before this time.
fn remove_leftovers(folder: &OwnedFd, name: &OsStr, before: u64) {
    let prefix = format!(".{}.", name.to_string_lossy());
    let Ok(entries) = Dir::read_from(folder) else { return };
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy();
        let ours = file.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".tmp"));
        if ours.is_none_or(|random| random.len() != 16) {
            continue;
        }
        let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
        if stat.is_ok_and(|stat| u64::try_from(stat.st_mtime).is_ok_and(|modified| modified < before)) {
            let _ = rustix::fs::unlinkat(folder, entry.file_name(), AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1234").unwrap();
        assert_eq!(read_regular(&path, 4).unwrap(), b"1234");
        assert!(read_regular(&path, 3).unwrap_err().to_string().contains("larger than 3"));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for other in [&pipe, dir.path()] {
            assert!(read_regular(other, 4).unwrap_err().to_string().contains("no regular file"));
        }
    }

    #[test]
    fn a_link_at_the_target_is_replaced_and_its_target_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let target = dir.path().join("gpu_sessions.prom");
        std::os::unix::fs::symlink(&victim, &target).unwrap();
        write_atomically(&target, b"new", 0o644).unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        let meta = std::fs::symlink_metadata(&target).unwrap();
        assert!(meta.is_file());
        assert_eq!(meta.permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failure_leaves_the_target_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::create_dir(&target).unwrap();
        assert!(write_atomically(&target, b"new", 0o644).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn old_leftovers_go_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join(".a.prom.0123456789abcdef.tmp");
        let fresh = dir.path().join(".a.prom.fedcba9876543210.tmp");
        let other = dir.path().join(".a.prom.mine.tmp");
        for file in [&old, &fresh, &other] {
            std::fs::write(file, "").unwrap();
        }
        let past = SystemTime::now() - Duration::from_secs(7200);
        for file in [&old, &other] {
            File::options().write(true).open(file).unwrap().set_modified(past).unwrap();
        }
        write_atomically(&dir.path().join("a.prom"), b"", 0o644).unwrap();
        assert_eq!((old.exists(), fresh.exists(), other.exists()), (false, true, true));
    }

    #[test]
    fn what_is_removed_is_the_file_its_leftovers_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.prom");
        let leftover = dir.path().join(".a.prom.0123456789abcdef.tmp");
        let others = [dir.path().join("b.prom"), dir.path().join(".a.prom.mine.tmp")];
        for file in others.iter().chain([&target, &leftover]) {
            std::fs::write(file, "").unwrap();
        }
        assert!(remove(&target).unwrap());
        assert!(!target.exists() && !leftover.exists() && others.iter().all(|other| other.exists()));
        assert!(!remove(&target).unwrap() && !remove(&target.join("x")).unwrap());
        assert!(!remove(&others[0].join("below/a/file")).unwrap());
    }
}
