//! Runs a service as its unit says, where no systemd is.

use super::{Debian, succeed};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts the root onto itself, read-only but for the folders named, and runs the rest of the arguments there:
/// `sh -c CONFINE sh ROOT NODE FOLDER… -- COMMAND…`. All of it goes with the process.
const CONFINE: &str = r#"
set -e
root=$1 node=$2
shift 2
mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --bind "$node" "$root/srv"
while [ "$1" != -- ]; do
    mount --bind "$root$1" "$root$1"
    shift
done
shift
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"#;

/// A unit that is installed.
pub(super) struct Unit<'a> {
    debian: &'a Debian,
    text: String,
}

impl<'a> Unit<'a> {
    pub(super) fn of(debian: &'a Debian, name: &str) -> Self {
        Self { debian, text: debian.read(&format!("/lib/systemd/system/{name}")) }
    }

    /// All values of a setting, in their order.
    pub(super) fn values(&self, setting: &str) -> Vec<&str> {
        let pairs = self.text.lines().filter_map(|line| line.split_once('='));
        pairs.filter(|(name, _)| *name == setting).map(|(_, value)| value).collect()
    }

    /// The one value of a setting.
    pub(super) fn value(&self, setting: &str) -> &str {
        let values = self.values(setting);
        assert_eq!(values.len(), 1, "{setting}: {values:?}");
        values[0]
    }

    /// The folder that systemd makes for its state.
    pub(super) fn state(&self) -> String {
        format!("/var/lib/{}", self.value("StateDirectory"))
    }

    /// What systemd would run, with `node` as /srv. The folders that it may write to are those of its state and of
    /// `ReadWritePaths`, as `ProtectSystem=strict` has it; it is told of a socket where it is to notify.
    pub(super) fn command(&self, node: &Path) -> Command {
        let user = self.value("User");
        let (state, mode) = (self.state(), self.value("StateDirectoryMode"));
        self.debian.run(&["install", "-d", "-m", mode, "-o", user, &state]);
        let paths = self.values("ReadWritePaths");
        let paths = paths.iter().flat_map(|paths| paths.split_whitespace());
        let paths = paths.filter_map(|path| match path.strip_prefix('-') {
            Some(path) => self.debian.has(path).then_some(path),
            None => Some(path),
        });
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", CONFINE, "sh"]);
        command.arg(self.debian.path("/")).arg(node).arg(&state).args(paths).arg("--");
        command.args(self.rights()).args(self.value("ExecStart").split_whitespace());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("STATE_DIRECTORY", &state);
        command
    }

    /// The user without groups and, as the unit takes them away, without capabilities.
    fn rights(&self) -> Vec<String> {
        let user = self.value("User");
        let id = |flag| self.debian.run(&["id", flag, user]).trim().to_owned();
        assert_eq!((self.value("CapabilityBoundingSet"), self.value("NoNewPrivileges")), ("", "yes"));
        let none = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
        let (user, group) = (format!("--reuid={}", id("--user")), format!("--regid={}", id("--group")));
        ["setpriv".to_owned(), user, group].into_iter().chain(none.map(str::to_owned)).collect()
    }
}

/// The service manager's end of sd_notify.
pub(super) struct Manager(UnixDatagram);

impl Manager {
    /// Listens in a folder that the service sees as /srv.
    pub(super) fn listen(folder: &Path, command: &mut Command) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        command.env("NOTIFY_SOCKET", "/srv/notify");
        Self(socket)
    }

    /// Waits until it is told this.
    pub(super) fn told(&self, state: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|e| panic!("{state} is not told: {e}"));
            if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == state) {
                return;
            }
        }
    }
}

/// Puts the simulated driver where the driver's own library is.
pub(super) fn install_driver(debian: &Debian) {
    let path: PathBuf = debian.path("/usr/lib/libnvidia-ml.so.1");
    succeed(Command::new("install").args(["-m", "0644"]).arg(crate::node::driver()).arg(path));
}
