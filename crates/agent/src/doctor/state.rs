//! What survives between runs, and the clock that it is stamped by.

use super::{Finding, OLD, SKEW, Scene, age};
use crate::state_file;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Whom the Debian package runs the service as.
const SERVICE_USER: &str = "gpu-session-monitor";

/// 2020-01-01: a clock that was never set stands at 1970, or at the day its kernel or firmware was built.
const NEVER_SET_US: i64 = 1_577_836_800 * 1_000_000;

pub(super) fn folder(scene: &Scene<'_>) -> Vec<Finding> {
    let path = &scene.settings.state_dir;
    if !path.exists() {
        let detail = format!("{} is not there yet: collect and serve make it", path.display());
        return vec![Finding::skipped(detail)];
    }
    if let Some(owner) = another_owner_than_root(path) {
        if Some(owner) == uid_of(SERVICE_USER) {
            return vec![Finding::ok(format!(
                "{} belongs to the service's user {SERVICE_USER}",
                path.display()
            ))];
        }
        let detail = format!("{} belongs to uid {owner}: what runs as that user can use it", path.display());
        let remedy = format!("if collect or serve runs as root, chown root {}", path.display());
        return vec![Finding::warning(detail, &remedy)];
    }
    vec![match state_file::check(path) {
        Ok(()) => Finding::ok(format!("{} can be written", path.display())),
        Err(e) => Finding::said(&format!("{e:#}")),
    }]
}

/// Who owns the folder, if that is another user and we are root, who may look at a service's, too.
fn another_owner_than_root(folder: &Path) -> Option<u32> {
    let owner = std::fs::metadata(folder).ok()?.uid();
    Some(owner).filter(|owner| *owner != 0 && rustix::process::geteuid().is_root())
}

/// uid of a user of this machine.
fn uid_of(user: &str) -> Option<u32> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields[0] == user).and_then(|fields| fields.get(2)?.parse().ok())
}

pub(super) fn clock(scene: &Scene<'_>) -> Vec<Finding> {
    vec![clock_at(scene.now_us, last_us(scene))]
}

/// The last sample by the state, if there was one.
fn last_us(scene: &Scene<'_>) -> Option<i64> {
    scene.state.as_ref().map(|state| state.time_us).filter(|time_us| *time_us > 0)
}

fn clock_at(now_us: i64, last_us: Option<i64>) -> Finding {
    const SET: &str = "set the clock (timedatectl set-ntp true, chronyd or ntpd)";
    if now_us < NEVER_SET_US {
        return Finding::failed("the clock is not set: it stands before 2020", SET);
    }
    match last_us.map(|last_us| (last_us - now_us) as f64 / 1e6) {
        Some(ahead) if ahead > SKEW => Finding::warning(
            format!("the last sample lies {} in the future: the clock is or was wrong", age(ahead)),
            SET,
        ),
        _ => Finding::ok("it is set, and the last sample is not in its future"),
    }
}

pub(super) fn last_sample(scene: &Scene<'_>) -> Vec<Finding> {
    let seconds = last_us(scene).map(|last_us| (scene.now_us - last_us) as f64 / 1e6);
    vec![aged(seconds)]
}

fn aged(seconds: Option<f64>) -> Finding {
    match seconds {
        None => Finding::skipped("nothing was measured yet with this state folder, or it cannot be read"),
        Some(seconds) if seconds < -SKEW => Finding::skipped("it lies in the future: see the clock's line"),
        Some(seconds) if seconds > OLD => Finding::warning(
            format!("measured {} ago", age(seconds)),
            "see that collect runs every minute or serve goes on: kubectl get cronjobs,jobs,daemonsets -n \
             gpu-operator, or systemctl status",
        ),
        Some(seconds) => Finding::ok(format!("measured {} ago", age(seconds))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_clock_is_not_set_or_ahead_or_right() {
        let now = 1_800_000_000_000_000;
        let of = |now, last| clock_at(now, last).status;
        assert_eq!(of(86_400_000_000, None), Status::Failed);
        assert_eq!((of(now, None), of(now, Some(now - 1))), (Status::Ok, Status::Ok));
        assert_eq!(of(now, Some(now + 1_000_000)), Status::Ok);
        assert_eq!(of(now, Some(now + 60_000_000)), Status::Warning);
    }

    #[test]
    fn a_sample_is_fresh_old_or_of_the_future() {
        let of = |seconds| aged(seconds).status;
        assert_eq!((of(Some(60.0)), of(Some(301.0))), (Status::Ok, Status::Warning));
        assert_eq!((of(None), of(Some(-60.0))), (Status::Skipped, Status::Skipped));
    }
}
