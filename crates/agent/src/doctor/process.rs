//! The host's processes: its /proc, its cgroups, its users.

use super::{Finding, Scene};
use gpu_session_sources::users::Names;
use std::collections::BTreeSet;
use std::path::Path;

/// Longest file of /proc that is read here: mounts of a node with thousands of containers.
const MAX_BYTES: u64 = 8 << 20;

pub(super) fn host(scene: &Scene<'_>) -> Vec<Finding> {
    let errors = scene.source("proc").map_or(&[][..], |source| &source.errors);
    if errors.is_empty() {
        let root = scene.settings.proc_root.display();
        return vec![Finding::ok(format!("{root} is the host's: the driver's pids are found in it"))];
    }
    Finding::errors(errors)
}

pub(super) fn hidepid(scene: &Scene<'_>) -> Vec<Finding> {
    let mounts = read(Path::new("/proc/self/mountinfo"));
    let root = &scene.settings.proc_root;
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.clone());
    let option = mounts.as_deref().and_then(|mounts| hiding(mounts, &root));
    vec![hidden(option.as_deref(), rustix::process::geteuid().is_root())]
}

/// The option of the mount at this folder that hides processes of others.
fn hiding(mounts: &str, root: &Path) -> Option<String> {
    let at = |line: &&str| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == root);
    // The last one lies on top.
    let line = mounts.lines().rfind(at)?;
    let (_, of_filesystem) = line.split_once(" - ")?;
    let mut options = of_filesystem.split(' ').nth(2)?.split(',');
    let option = options.find(|option| option.starts_with("hidepid="))?;
    (!matches!(option, "hidepid=0" | "hidepid=off")).then(|| option.to_owned())
}

fn hidden(option: Option<&str>, is_root: bool) -> Finding {
    match option {
        None => Finding::ok("/proc hides no process (no hidepid)"),
        Some(option) if is_root => {
            Finding::ok(format!("/proc is mounted with {option}; root sees all the same"))
        }
        Some(option) => Finding::failed(
            format!("/proc is mounted with {option}: processes of other users are hidden"),
            "run as root, or as a member of the group that the mount's option gid= names",
        ),
    }
}

pub(super) fn cgroups(scene: &Scene<'_>) -> Vec<Finding> {
    let init = read(&scene.settings.proc_root.join("1/cgroup"));
    let processes = scene.sample.processes.iter().flat_map(|all| all.values());
    let known = processes.filter_map(|process| process.cgroup.as_deref());
    let texts: Vec<&str> = init.as_deref().into_iter().chain(known).collect();
    vec![layout(&texts)]
}

/// What the cgroup files of processes say of the node.
fn layout(texts: &[&str]) -> Finding {
    let lines = texts.iter().flat_map(|text| text.lines());
    let fields = lines.filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let (mut kinds, mut private) = (BTreeSet::new(), false);
    for (id, controllers, path) in fields {
        kinds.insert(if id == "0" && controllers.is_empty() { "v2" } else { "v1" });
        private |= path.starts_with("/..");
    }
    let word = match (kinds.contains("v1"), kinds.contains("v2")) {
        (true, true) => "v1 and v2 (hybrid)",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => return Finding::skipped("no process whose cgroup could be read"),
    };
    let seen = if private {
        "; seen from a private cgroup namespace (paths begin with /..), which is read all the same"
    } else {
        ""
    };
    Finding::ok(format!("{word}{seen}"))
}

pub(super) fn events(scene: &Scene<'_>) -> Vec<Finding> {
    match scene.source("process_events") {
        None => vec![Finding::skipped("not asked for (process_events)")],
        Some(source) if source.errors.is_empty() => {
            vec![Finding::ok("the kernel tells of every exec and exit")]
        }
        Some(source) => Finding::errors(&source.errors),
    }
}

pub(super) fn users(scene: &Scene<'_>) -> Vec<Finding> {
    let errors = scene.source("users").map_or(&[][..], |source| &source.errors);
    if !errors.is_empty() {
        return Finding::errors(errors);
    }
    vec![match &scene.settings.users {
        Names::File(path) => Finding::ok(format!("names from {}", path.display())),
        Names::System => Finding::ok("names by this machine's name service (getpwuid)"),
        Names::None => Finding::warning(
            "this is a container: users of the host are shown as uid:<n>",
            "mount the host's passwd file and name it with users.passwd",
        ),
    }]
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn hidepid_is_that_of_the_mount_on_top() {
        let mount = |options: &str| format!("22 1 0:21 / /proc rw,nosuid shared:5 - proc proc {options}\n");
        let of = |mounts: &str| hiding(mounts, Path::new("/proc"));
        assert_eq!(of(&mount("rw")), None);
        assert_eq!(of(&mount("rw,hidepid=off")), None);
        assert_eq!(of(&mount("rw,gid=4,hidepid=invisible")).as_deref(), Some("hidepid=invisible"));
        assert_eq!(of(&(mount("rw,hidepid=2") + &mount("rw"))), None);
        assert_eq!(of(&mount("rw,hidepid=2").replace("/proc", "/host/proc")), None);
        assert_eq!(of("nonsense\n"), None);
        assert_eq!(hidden(None, false).status, Status::Ok);
        assert_eq!(hidden(Some("hidepid=2"), true).status, Status::Ok);
        assert_eq!(hidden(Some("hidepid=2"), false).status, Status::Failed);
    }

    #[test]
    fn the_layout_of_cgroups_is_told_by_their_lines() {
        for (text, wanted) in [
            ("0::/init.scope\n", "v2"),
            ("12:memory:/\n1:name=systemd:/init.scope\n", "v1"),
            ("1:name=systemd:/init.scope\n0::/init.scope\n", "v1 and v2 (hybrid)"),
        ] {
            assert_eq!(layout(&[text]).detail, wanted);
        }
        assert!(layout(&["0::/\n", "0::/../../a\n"]).detail.contains("private cgroup namespace"));
        assert_eq!(layout(&["", "nonsense\n"]).status, Status::Skipped);
    }
}
