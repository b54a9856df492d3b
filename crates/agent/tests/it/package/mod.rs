//! The Debian package: made as `make deb` makes it, of the program that is tested, and installed in a clean Debian.

mod described;
mod life;
mod unit;

use crate::node::{Run, program, workspace};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A folder for what is made once for all tests, empty at first.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What a package has beside the program: man pages and completions.
fn generated() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let xtask = Path::new(program()).with_file_name("xtask");
        assert!(xtask.exists(), "xtask is missing: `make test` builds it (cargo build --workspace)");
        let folder = folder("generated");
        succeed(Command::new(xtask).arg("dist").arg(&folder));
        folder
    })
}

/// The package, of the version of the changelog.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| make(None))
}

/// The package as another version.
fn package_of(version: &str) -> PathBuf {
    make(Some(version))
}

fn make(version: Option<&str>) -> PathBuf {
    let folder = folder(version.unwrap_or("first"));
    let mut command = Command::new(workspace().join("scripts/deb.sh"));
    command.arg(program()).arg(generated()).arg(&folder).args(version);
    // To be read once: quick is better than small.
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    succeed(&mut command);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.into_iter().next().unwrap()
}

/// Runs a command that must go well.
fn succeed(command: &mut Command) -> Run {
    let run = Run::of(command.output().unwrap_or_else(|e| panic!("{command:?}: {e}")));
    assert_eq!(run.code, 0, "{command:?}:\n{}{}", run.stdout, run.stderr);
    run
}

/// A clean Debian of the test's own, without a service manager.
struct Debian(tempfile::TempDir);

impl Debian {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "only root may install packages: sudo make test");
        let clean = workspace().join("target/test-tools/debian");
        let clean = clean.canonicalize().unwrap_or_else(|e| {
            panic!("{}: {e}; `make test` makes a clean Debian (scripts/setup-debian.sh)", clean.display())
        });
        let folder = tempfile::tempdir().unwrap();
        succeed(Command::new("cp").arg("-aT").arg(clean).arg(folder.path()));
        // Not that of a temporary folder: this is everybody's.
        succeed(Command::new("chmod").arg("0755").arg(folder.path()));
        Self(folder)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside.trim_start_matches('/'))
    }

    fn read(&self, inside: &str) -> String {
        let path = self.path(inside);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    fn has(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    /// A command in it, as root.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0.path()).args(words).env_clear().stdin(std::process::Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn run(&self, words: &[&str]) -> String {
        succeed(&mut self.command(words)).stdout
    }

    /// Installs the package, or upgrades to it; nobody is there to answer a question.
    fn install(&self, package: &Path) {
        std::fs::copy(package, self.path("/tmp/package.deb")).unwrap();
        self.run(&["dpkg", "--install", "/tmp/package.deb"]);
        std::fs::remove_file(self.path("/tmp/package.deb")).unwrap();
    }

    /// All files and folders, with what the users' tables say, but for what dpkg and the tables' tools keep themselves.
    fn inventory(&self) -> BTreeSet<String> {
        const KEPT: [&str; 5] = ["/var/lib/dpkg/", "/var/log/", "/var/cache/", "/run/", "/etc/.pwd.lock"];
        let files = self.run(&["find", "/", "-xdev", "-not", "-path", "/tmp/*"]);
        let files = files.lines().filter(|file| {
            let backup = file.starts_with("/etc/") && file.ends_with('-');
            !backup && !KEPT.iter().any(|kept| file.starts_with(kept))
        });
        let tables = ["passwd", "group", "shadow", "gshadow"].map(|table| {
            let lines = self.read(&format!("/etc/{table}"));
            lines.lines().map(|line| format!("{table}: {line}")).collect::<Vec<_>>()
        });
        files.map(str::to_owned).chain(tables.into_iter().flatten()).collect()
    }
}
