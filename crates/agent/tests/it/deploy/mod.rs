//! `deploy_astrago.sh` and the stack that it installs.

mod cluster;
mod labels;
mod script;
mod seed;
mod stack;

use crate::node::{Run, workspace};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A checkout of what the script needs, whose environments are the test's own.
pub(crate) struct Checkout(tempfile::TempDir);

impl Checkout {
    pub(crate) fn new() -> Self {
        let (folder, from) = (tempfile::tempdir().unwrap(), workspace());
        for name in ["charts", "deploy", "helmfile.yaml.gotmpl"] {
            std::os::unix::fs::symlink(from.join(name), folder.path().join(name)).unwrap();
        }
        let environments = folder.path().join("environments");
        std::fs::create_dir(&environments).unwrap();
        std::os::unix::fs::symlink(from.join("environments/example"), environments.join("example")).unwrap();
        // Not a link: it looks for the rest beside itself.
        std::fs::copy(from.join("deploy_astrago.sh"), folder.path().join("deploy_astrago.sh")).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the values of an environment.
    pub(crate) fn environment(&self, name: &str, values: &str) {
        let folder = self.path("environments").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("values.yaml"), values).unwrap();
    }

    fn values(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("environments").join(name).join("values.yaml")).unwrap()
    }

    /// The script for this environment, run from another folder, with a cluster that is not there.
    pub(crate) fn script(&self, environment: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("deploy_astrago.sh"));
        command.args(args).current_dir("/");
        self.alone(&mut command).env("ASTRAGO_ENV", environment);
        command
    }

    /// Gives a command the tools of the tests and nobody's configuration.
    pub(crate) fn alone<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let tools = workspace().join("target/test-tools/bin");
        for tool in ["helm", "helmfile", "kubectl"] {
            assert!(tools.join(tool).exists(), "{tool} is missing: `make test` makes it (scripts/setup.sh)");
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path))).unwrap();
        command.env_clear().env("PATH", path).env("HOME", self.path("home"));
        command.env("KUBECONFIG", Path::new("/nonexistent")).stdin(std::process::Stdio::null())
    }

    fn run(&self, environment: &str, args: &[&str]) -> Run {
        Run::of(self.script(environment, args).output().unwrap())
    }
}
