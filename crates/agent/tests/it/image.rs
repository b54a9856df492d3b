//! The container image, made as `make image` makes it, of the program that is tested. That containers of it run, as the
//! chart has them, is tested where the chart is (`cluster/`).

use crate::node::{Run, program, workspace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program without what is for debuggers, in this folder.
pub(crate) fn stripped(folder: &Path) -> PathBuf {
    let file = folder.join("stripped");
    succeed(Command::new("strip").arg("-o").arg(&file).arg(program()));
    file
}

/// Makes the image.
pub(crate) fn make(program: &Path, archive: &Path) {
    succeed(with_tools(Command::new(script()).arg(program).arg(archive)));
}

fn script() -> PathBuf {
    workspace().join("scripts/image.sh")
}

fn with_tools(command: &mut Command) -> &mut Command {
    let tools = workspace().join("target/test-tools/deb/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", std::env::join_paths(std::env::split_paths(&path).chain([tools])).unwrap())
}

fn succeed(command: &mut Command) -> Run {
    let run = Run::of(command.output().unwrap_or_else(|e| panic!("{command:?}: {e}; install it")));
    assert_eq!(run.code, 0, "{command:?}: {}{}", run.stdout, run.stderr);
    run
}

/// The layout in an archive.
struct Layout(tempfile::TempDir);

impl Layout {
    fn of(archive: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        succeed(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder.path()));
        Self(folder)
    }

    fn document(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.path().join(name)).unwrap()).unwrap()
    }

    fn blob(descriptor: &Value) -> String {
        descriptor["digest"].as_str().unwrap().replacen("sha256:", "blobs/sha256/", 1)
    }

    fn manifest(&self) -> Value {
        let index = self.document("index.json");
        let [manifest] = &index["manifests"].as_array().unwrap()[..] else { panic!("{index}") };
        let name = format!("localhost/gpu-session-monitor:{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(manifest["annotations"]["io.containerd.image.name"], *name);
        self.document(&Self::blob(manifest))
    }

    /// Every file of all layers, with its mode as tar shows it.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for layer in self.manifest()["layers"].as_array().unwrap() {
            let blob = self.0.path().join(Self::blob(layer));
            for line in succeed(Command::new("tar").arg("-tzvf").arg(blob)).stdout.lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                assert_eq!(words[1], "0/0", "{line}");
                files.insert(words[5].trim_start_matches("./").to_owned(), words[0].to_owned());
            }
        }
        files
    }
}

#[test]
fn it_holds_the_program_and_what_that_needs_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (program, archives) =
        (stripped(folder.path()), ["a.tar", "b.tar"].map(|name| folder.path().join(name)));
    make(&program, &archives[0]);
    // Whatever the habits of who makes it.
    let mut careful = Command::new("sh");
    careful.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(script()).arg(&program).arg(&archives[1]);
    succeed(with_tools(&mut careful));
    assert!(std::fs::read(&archives[0]).unwrap() == std::fs::read(&archives[1]).unwrap(), "they differ");

    let layout = Layout::of(&archives[0]);
    let config = layout.document(&Layout::blob(&layout.manifest()["config"]));
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/usr/bin/gpu-session-monitor"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    let labels = config["config"]["Labels"].as_object().unwrap();
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    for label in ["title", "description", "revision", "licenses", "source"] {
        let value = labels[&format!("org.opencontainers.image.{label}")].as_str();
        assert!(value.is_some_and(|value| !value.is_empty()), "{label}");
    }

    let files = layout.files();
    let is = |end: &str| files.keys().any(|file| file.ends_with(end));
    for needed in [
        "usr/bin/gpu-session-monitor",
        "/libc.so.6",
        "/libpthread.so.0",
        "/libdl.so.2",
        "ca-certificates.crt",
    ] {
        assert!(is(needed), "{needed}: {files:?}");
    }
    // Glibc is under the LGPL: whoever gives it on says so.
    assert!(is("doc/libc6/copyright") && is("doc/gpu-session-monitor/LICENSE"), "{files:?}");
    assert!(is("doc/gpu-session-monitor/THIRD-PARTY"), "{files:?}");
    let programs: Vec<_> = files
        .iter()
        .filter(|(file, mode)| mode.starts_with("-rwx") && !file.contains(".so."))
        .map(|(file, _)| file.as_str())
        .collect();
    assert_eq!(programs, ["usr/bin/gpu-session-monitor"], "no shell, no driver");
    assert!(!is("libnvidia-ml.so.1"));
    let special = files.iter().find(|(_, mode)| mode.contains(['s', 'S']));
    assert_eq!(special, None);
}

#[test]
fn its_program_runs_on_what_is_in_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (archive, root) = (folder.path().join("image.tar"), folder.path().join("root"));
    make(&stripped(folder.path()), &archive);
    let layout = Layout::of(&archive);
    std::fs::create_dir(&root).unwrap();
    for layer in layout.manifest()["layers"].as_array().unwrap() {
        let blob = layout.0.path().join(Layout::blob(layer));
        succeed(Command::new("tar").arg("-xzf").arg(blob).arg("-C").arg(&root));
    }
    // Mozilla's authorities, and none that this machine has beside them.
    let authorities = std::fs::read_dir("/usr/share/ca-certificates/mozilla").unwrap().count();
    let bundle = std::fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), authorities);
    let notices =
        std::fs::read_to_string(root.join("usr/share/doc/gpu-session-monitor/THIRD-PARTY")).unwrap();
    assert!(notices.contains("\nrustls 0.") && notices.contains("Permission is hereby granted"));
    let said = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]).arg(&root).arg("/usr/bin/gpu-session-monitor").args(args);
        Run::of(command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap())
    };
    let version = said(&["--version"]);
    assert!(version.code == 0 && version.stdout.contains(env!("CARGO_PKG_VERSION")), "{}", version.stderr);
    // No driver is in it, and it says so.
    let doctor = said(&["doctor"]);
    assert!(
        doctor.code == 1 && doctor.stdout.contains("libnvidia-ml.so.1"),
        "{}{}",
        doctor.stdout,
        doctor.stderr
    );
}
