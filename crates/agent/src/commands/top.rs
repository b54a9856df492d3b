//! `top`: who is where, on a terminal, as it changes.

use crate::cli::TopArgs;
use crate::exit::{Exit, Failure};
use crate::settings::Settings;
use crate::top::Theme;
use crate::top::io::{Feed, Setup, run as show};
use crate::view;
use crate::view::filter::Filter;
use crate::view::recording::Recording;
use std::io::IsTerminal as _;
use std::time::Duration;

const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(300);

pub(super) fn run(args: &TopArgs) -> Result<Exit, Failure> {
    if !(LEAST..=MOST).contains(&args.interval) {
        let given = humantime::format_duration(args.interval);
        return Err(Failure::usage(anyhow::anyhow!("--interval {given}: allowed is 500ms to 5m")));
    }
    check_terminal()?;
    let feed = match &args.replay {
        Some(path) => Feed::Recorded(Box::new(Recording::load(path, &Settings::resolve(&args.common)?)?)),
        None => Feed::Live(view::source(&args.look, &args.common)?),
    };
    let nodes = args.common.node.iter().filter(|_| args.look.prometheus.is_some()).cloned().collect();
    let filter = Filter { nodes, devices: args.gpu.clone(), ..Filter::default() };
    let clock = Settings::clock(&args.common)?;
    let theme = Theme { color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) };
    show(Setup { feed, filter, interval: args.interval, clock, theme })?;
    Ok(Exit::Ok)
}

fn check_terminal() -> Result<(), Failure> {
    const REMEDY: &str = "use `gpu-session-monitor ps`, or `ps --json` for programs";
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(anyhow::anyhow!(
            "top needs a terminal, for keys and for the screen: {REMEDY}"
        )));
    }
    let terminal = std::env::var("TERM").unwrap_or_default();
    if matches!(terminal.as_str(), "" | "dumb") {
        return Err(Failure::usage(anyhow::anyhow!(
            "TERM={terminal}: top needs a terminal whose cursor can be moved: set TERM to what yours is, such as xterm; or {REMEDY}"
        )));
    }
    Ok(())
}
