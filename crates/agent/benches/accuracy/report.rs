//! The tables, as Markdown.

use crate::corpus::{Case, END_S, Kind};
use crate::peers::Peer;
use crate::play::Way;
use crate::verdict::{Tally, Verdict};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

/// Everything that was measured.
pub(crate) struct Measured {
    /// By case, then by way, in the order of [`Way::ALL`].
    pub(crate) ours: Vec<(Case, Vec<Verdict>)>,
    pub(crate) peers: Vec<(Kind, BTreeMap<Peer, Verdict>)>,
}

const HEAD: &str = "# How right the figures are

<!-- Written by `make accuracy`. -->

Cases whose truth is known are played through the program as its users run it: processes on the simulated driver
([scenario.md](scenario.md)), a clock that is moved, `serve` and `collect` as commands. What they say is held against the
truth, which is summed up from the case's own numbers by other code than the program's. Each case takes 10 simulated minutes.
";

const READING: &str = "
- **missed**: sessions (processes on a device) that are in no row of the ledger (`serve`) and have no series (`collect`), of
  all there were. In brackets those that the driver told of when it was read: it listed them, kept a sample of their work, or a record
  of accounting mode.
- **invented**: sessions shown that were none, and further ones of a session that is one.
- **users wrong**: sessions with another user than their own. **unknown**: found, but nobody could say any more whose they are.
- **SM time**, **memory**: what was counted in all (SM seconds, byte-seconds) beyond the truth or short of it.
- **ring**: a driver that gives every sample of the last two minutes. **last**: one that gives the last sample of what runs. **GPM**:
  of MIG instances. **accounting**: accounting mode is on.
- Process events ([continuous.md](continuous.md)) are the kernel's word on real processes: no simulated one has any, and they are not in the
  tables.
";

const OTHERS: &str = "
The same cases, with real processes of the case's pids and users, on the same simulated driver; its clock goes on in steps of 15 s.
A session counts as found if it was ever shown. Memory is what was shown, times the time between two looks. \"-\" is what
the tool does not tell. That of nvitop's SM figures is not judged: they are of the time since its own last
reading, and here the clock stands between two steps. Users are Unix users here, so in the pods of *time-slicing* everybody is root.
";

/// The whole document.
pub(crate) fn document(measured: &Measured, said: &str) -> String {
    let mut text = format!("{HEAD}\n{}\n## Cases\n\n", conditions());
    for kind in Kind::ALL {
        let _ = writeln!(text, "- **{}**: {}", kind.name(), kind.meaning());
    }
    let _ = write!(text, "\n## What the columns mean\n{READING}");
    for (number, way) in Way::ALL.into_iter().enumerate() {
        let _ = write!(text, "\n## {}\n\n{}", way.name(), columns("case"));
        for (case, verdicts) in &measured.ours {
            text.push_str(&row(&case.name(), &verdicts[number], true));
        }
    }
    let _ = write!(text, "\n## Other tools\n{OTHERS}");
    for peer in Peer::ALL {
        match peer.version() {
            Ok(version) => {
                let _ =
                    write!(text, "\n### {} {version}, {}\n\n{}", peer.name(), peer.manner(), columns("case"));
                for (kind, verdicts) in &measured.peers {
                    let verdict = verdicts.get(&peer);
                    text.push_str(&verdict.map_or_else(String::new, |one| row(kind.name(), one, false)));
                }
            }
            Err(why) => {
                let _ = writeln!(text, "\n### {}\n\nNot played: {why}.", peer.name());
            }
        }
    }
    let _ = write!(text, "\n{said}");
    text
}

fn conditions() -> String {
    let output = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let dirty = if output("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty() {
        ""
    } else {
        ", with changes that were not committed"
    };
    format!(
        "A run of {} by version {}, commit {}{dirty}.\n",
        output("date", &["-u", "+%Y-%m-%d"]),
        env!("CARGO_PKG_VERSION"),
        output("git", &["rev-parse", "--short=12", "HEAD"]),
    )
}

fn columns(first: &str) -> String {
    format!(
        "| {first} | missed, 1 s or more | missed, shorter | invented | users wrong | unknown | SM time | memory |\n|---|---:|---:|---:|---:|---:|---:|---:|\n"
    )
}

fn row(name: &str, verdict: &Verdict, tells: bool) -> String {
    let Verdict { long, short, invented, users_wrong, users_unknown, sm, memory } = verdict;
    format!(
        "| {name} | {} | {} | {invented} | {users_wrong} | {users_unknown} | {} | {} |\n",
        missed(*long, tells),
        missed(*short, tells),
        error(*sm),
        error(*memory)
    )
}

fn missed(missed: Tally, tells: bool) -> String {
    let Tally { of, missed, told } = missed;
    match (of, tells) {
        (0, _) => "-".to_owned(),
        (_, true) => format!("{missed} of {of} ({told})"),
        (_, false) => format!("{missed} of {of}"),
    }
}

fn error(error: Option<f64>) -> String {
    let percent = error.map(|error| {
        // No sign where there is nothing to show.
        let rounded = (error * 1e4).round() / 1e2;
        if rounded == 0.0 { "0.00 %".to_owned() } else { format!("{rounded:+.2} %") }
    });
    percent.unwrap_or_else(|| "-".to_owned())
}

/// How long the cases are.
pub(crate) fn simulated_minutes(measured: &Measured) -> i64 {
    measured.ours.len() as i64 * Way::ALL.len() as i64 * END_S / 60
}
