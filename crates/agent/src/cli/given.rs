//! What stands on the command line, apart from what the environment says: it wins, and what cannot apply is wrong usage.

use super::{Cli, Command, CommonArgs, LookArgs};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _};
use std::ffi::OsString;

/// Where there is to look, by the argument that names it.
const PLACES: [&str; 3] = ["connect", "prometheus", "replay"];

/// The command line of this process; ends it where that is wrong, or only asks for help.
pub fn read() -> Cli {
    read_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// This command line, with what the environment says.
pub fn read_from(args: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(args)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let Some((name, own)) = matches.subcommand() else { return Ok(cli) };
    let settled = match &mut cli.command {
        Command::Ps(args) => settle(own, &mut args.look, &mut args.common),
        Command::Top(args) => settle(own, &mut args.look, &mut args.common),
        _ => Ok(()),
    };
    match (settled, command.find_subcommand_mut(name)) {
        (Err(wrong), Some(command)) => Err(command.error(ErrorKind::ArgumentConflict, wrong)),
        _ => Ok(cli),
    }
}

/// Leaves the one place to look at, and of the settings those that stand on the command line.
fn settle(matches: &ArgMatches, look: &mut LookArgs, common: &mut CommonArgs) -> Result<(), String> {
    let given = |id: &str| {
        let known = matches.ids().any(|own| own.as_str() == id);
        known && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let mut places = PLACES.into_iter().filter(|id| given(id));
    let place = match (places.next(), places.next()) {
        (Some(one), Some(other)) => return Err(format!("--{one} cannot be used with --{other}")),
        (Some(place), None) => place,
        (None, _) => match (&look.connect, &look.prometheus) {
            (None, None) => return Ok(()),
            (Some(_), None) => "connect",
            (None, Some(_)) => "prometheus",
            (Some(_), Some(_)) => return Err(BOTH.to_owned()),
        },
    };
    let settings =
        [CommonArgs::augment_args(clap::Command::new("")), LookArgs::augment_args(clap::Command::new(""))];
    let settings = settings.iter().flat_map(clap::Command::get_arguments).map(|arg| arg.get_id().as_str());
    if let Some(id) = settings.filter(|id| given(id)).find(|id| !has_meaning(id, place)) {
        let remedy = if id == "device" { "; use --gpu" } else { "" };
        return Err(format!("--{} cannot be used with --{place}{remedy}", id.replace('_', "-")));
    }
    look.connect.take_if(|_| place != "connect");
    look.prometheus.take_if(|_| place != "prometheus");
    // There it is a name to look for, and no label.
    common.node.take_if(|_| !given("node"));
    Ok(())
}

const BOTH: &str = "GPU_SESSION_MONITOR_CONNECT and GPU_SESSION_MONITOR_PROMETHEUS are both set: unset one, or name the place \
                    on the command line";

/// Whether an argument changes anything where something else is looked at than this node.
fn has_meaning(id: &str, place: &str) -> bool {
    match id {
        "clock" => true,
        "connect" | "connect_token_file" => place == "connect",
        "prometheus" | "prometheus_token_file" | "prometheus_matcher" | "prometheus_timeout" | "node" => {
            place == "prometheus"
        }
        "config" | "device" | "gpu_count" | "sessions_limit" | "users_limit" => place == "replay",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_apply_is_refused() {
        let read = |args: &str| read_from(std::iter::once("gpu-session-monitor").chain(args.split(' ')));
        for (args, wanted) in [
            ("ps --connect http://h --prometheus http://p", "--connect cannot be used with --prometheus"),
            ("top --replay f --connect http://h", "--connect cannot be used with --replay"),
            ("ps --prometheus http://p --device 5", "--device cannot be used with --prometheus; use --gpu"),
            ("top --connect http://h --node a", "--node cannot be used with --connect"),
            ("top --replay f --window 2s", "--window cannot be used with --replay"),
            ("ps --connect http://h --nvml-library x", "--nvml-library cannot be used with --connect"),
        ] {
            let error = read(args).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(wanted), "{args}: {error}");
        }
        for args in [
            "ps --node a --device 0 --window 2s",
            "ps --prometheus http://p --node a --gpu 0",
            "top --prometheus http://p --node a --gpu 0",
            "top --replay f --device 0",
            "top --connect http://h --gpu 0",
        ] {
            assert!(read(args).is_ok(), "{args}");
        }
    }
}
