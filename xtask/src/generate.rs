//! What is generated from the code.

use clap::CommandFactory as _;
use gpu_session_core::metrics::{Kind, TABLE};
use gpu_session_monitor::cli::Cli;
use gpu_session_monitor::settings::OTHER_KEYS;
use std::fmt::Write as _;

/// Paths below the root, with their text.
pub(crate) fn all() -> anyhow::Result<Vec<(String, String)>> {
    let files = [
        ("docs/metrics.md", metrics()),
        ("docs/configuration.md", configuration()),
        ("docs/openapi.json", gpu_session_monitor::outputs::http::api::openapi().to_pretty_json()? + "\n"),
        ("packaging/debian/config.yaml", crate::config_file::text()),
        ("crates/nvml-sim/scenario.schema.json", serde_json::to_string_pretty(&nvml_sim::schema())? + "\n"),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text));
    Ok(files.chain(crate::dashboards::all()?).collect())
}

fn metrics() -> String {
    let mut out = "# Metrics\n\n\
        <!-- Generated from crates/core/src/metrics/table.rs by `make generate`. -->\n\n\
        What is unknown has no series: never 0, never a default. Every series also carries the labels given with \
        `--node` and `--label`. A new counter of what was used is written as 0 first, so that `increase()` sees its beginning, and with its \
        value from the next run on; in `serve` after one `--scrape-interval`. Counters of an ended session stay 10 minutes, \
        and so do those of a pod; sums of users and namespaces stay.\n\n\
        `gpu` is the index, or `<gpu>_<gpu instance>_<compute instance>` for a MIG instance; `session` is the same \
        while a process is on a device, and never used again.\n"
        .to_owned();
    let mut section = "";
    for metric in TABLE {
        if metric.section != section {
            section = metric.section;
            let _ =
                writeln!(out, "\n## {section}\n\n| metric | type | labels | meaning |\n|---|---|---|---|");
        }
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let help = metric.help.replace('<', "&lt;").replace('|', "\\|");
        let _ = writeln!(out, "| `{}` | {kind} | {} | {help} |", metric.name, labels.join(", "));
    }
    out
}

/// An option that can be set in three places.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) flag: String,
    pub(crate) environment: String,
    /// Key of the file; `None` for the option that names the file.
    pub(crate) key: Option<String>,
    pub(crate) default: String,
    pub(crate) help: String,
}

/// The options that all measuring commands share.
fn common_options() -> Vec<Setting> {
    // It has no others with a variable.
    options_of("record")
}

/// Those that `serve` has beyond them.
fn serve_options() -> Vec<Setting> {
    let common: Vec<String> = common_options().into_iter().map(|setting| setting.flag).collect();
    options_of("serve").into_iter().filter(|setting| !common.contains(&setting.flag)).collect()
}

/// All options that can be set in the file, those of `serve` last.
pub(crate) fn options() -> Vec<Setting> {
    common_options().into_iter().chain(serve_options()).collect()
}

fn options_of(command: &str) -> Vec<Setting> {
    let cli = Cli::command();
    let Some(command) = cli.find_subcommand(command) else { return Vec::new() };
    command.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(setting).collect()
}

fn setting(argument: &clap::Arg) -> Option<Setting> {
    let flag = argument.get_long()?.to_owned();
    let environment = argument.get_env()?.to_string_lossy().into_owned();
    let key = match OTHER_KEYS.iter().find(|(other, _)| *other == flag) {
        Some((_, "")) => None,
        Some((_, key)) => Some((*key).to_owned()),
        None => Some(flag.replacen('-', ".", 1)),
    };
    let text = argument.get_help()?.to_string();
    let (help, default) = match text.split_once(" [default: ") {
        Some((help, default)) => (help.to_owned(), default.trim_end_matches(']').to_owned()),
        None => (text, String::new()),
    };
    Some(Setting { flag, environment, key, default, help })
}

fn configuration() -> String {
    let mut out = "# Configuration\n\n\
        <!-- Generated from crates/agent/src/cli.rs by `make generate`. -->\n\n\
        A flag beats its environment variable, that the configuration file, that the default. The file is YAML; every \
        key is optional; an unknown key or a bad value is an error that names it (exit code 2).\n\n"
        .to_owned();
    table(&mut out, common_options());
    out.push_str(
        "\n## Only of `serve`\n\nOther commands let these keys be. What [serve](serve.md) does with them, and which of \
         them can change while it runs, stands there.\n\n",
    );
    table(&mut out, serve_options());
    out.push_str(EXAMPLE);
    out
}

fn table(out: &mut String, settings: Vec<Setting>) {
    out.push_str("| flag | environment | key in the file | default | meaning |\n|---|---|---|---|---|\n");
    for Setting { flag, environment, key, default, help } in settings {
        let key = key.map(|key| format!("`{key}`")).unwrap_or_default();
        let _ = writeln!(out, "| `--{flag}` | `{environment}` | {key} | {default} | {help} |");
    }
}

const EXAMPLE: &str = "\n## Example\n\n```yaml\n\
    gpu:\n  devices: [0, 1, GPU-2f0c1d5e-7a1b-4c3d-9e8f-001122334455, 3_1_0]\n\
    node: gpu-7\n\
    labels:\n  rack: r1\n\
    textfile: /var/lib/node_exporter/textfile_collector/gpu_sessions.prom\n\
    timeout: 10s\n\
    sessions:\n  limit: 1000\n\
    ```\n\n\
    `textfile` is the path, or a mapping where `serve` is told more: \
    `textfile: {path: /srv/textfiles/gpu_sessions.prom, interval: 30s, counters: true}`.\n\n\
    Lists on the command line and in the environment are separated by commas: `--device 0,1`, `--label rack=r1,site=x`.\n\n\
    `users.rules`, the rules that say whose a session is, stands in the file only: [attribution.md](attribution.md).\n";
