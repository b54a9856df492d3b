//! `collect --remove`: the node is left without a textfile and, with `--purge`, without what is kept between runs.

use crate::cli::CollectArgs;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::say;
use crate::settings::{Settings, check_range};
use crate::state_file::StateFolder;
use anyhow::Context as _;
use std::time::Duration;

/// Longest that other runs are kept out.
const LONGEST_STAY: Duration = Duration::from_secs(600);

pub(super) fn run(args: &CollectArgs, settings: &Settings) -> Result<Exit, Failure> {
    if !args.remove {
        return Err(Failure::usage(anyhow::anyhow!(
            "--purge (GPU_SESSION_MONITOR_PURGE) goes with --remove only; add it, or leave this out"
        )));
    }
    check_range("--stay", args.stay, Duration::ZERO, LONGEST_STAY)?;
    // A run that is at it would write the file after us.
    let folder = StateFolder::open(&settings.state_dir)?;
    let textfile = &settings.textfile;
    let was_there = files::remove(textfile).with_context(|| {
        format!(
            "{}: not removed, and node_exporter goes on serving it; remove it by hand",
            textfile.display()
        )
    })?;
    let (textfile, state_dir) = (textfile.display(), settings.state_dir.display());
    let first = if was_there { format!("removed {textfile}") } else { format!("{textfile} was not there") };
    let kept = if args.purge { folder.clear()? } else { folder.kept() };
    say::info(match (kept.join(", "), args.purge) {
        (kept, _) if kept.is_empty() => format!("{first}; nothing was kept in {state_dir}"),
        (kept, true) => format!("{first}; removed {kept} from {state_dir}"),
        (kept, false) => format!("{first}; left in {state_dir}: {kept} (--purge removes that)"),
    });
    std::thread::sleep(args.stay.unwrap_or_default());
    if args.purge {
        // The last: without it others would not be kept out.
        folder.dissolve()?;
    }
    Ok(Exit::Ok)
}
