//! `doctor`: every prerequisite, checked, with the remedy.

use crate::cli::CommonArgs;
use crate::exit::{Exit, Failure};
use crate::outputs::textfile;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::state_file::StateFolder;
use gpu_session_core::sample::Sample;
use gpu_session_core::state::State;
use gpu_session_sources::kubernetes::Mode;
use gpu_session_sources::users::Names;
use std::io::IsTerminal as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What a check found.
enum Finding {
    Good(String),
    Warning(String),
    Bad(String),
}

pub(super) fn run(args: &CommonArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(args)?;
    let sample = Pipeline::live(&settings, State::default(), Mode::Watch)?.sample();
    let mut findings: Vec<(&str, Finding)> = Vec::new();
    for source in &sample.health {
        let name = match &*source.source {
            "nvml" => "driver",
            "proc" => "processes",
            "process_events" => "process events",
            "kubelet" => "kubelet",
            "kubernetes" => "Kubernetes API",
            "cri" => "CRI",
            "dcgm" => "DCGM exporter",
            _ => "users",
        };
        let problems = source.errors.iter().map(|error| (name, Finding::Bad(error.message.clone())));
        findings.extend(problems);
        if source.errors.is_empty() {
            findings.push((name, healthy(name, &sample, &settings)));
        }
    }
    findings.extend(devices(&sample).into_iter().map(|finding| ("device", finding)));
    findings.push(("textfile folder", textfile_folder(&settings.textfile)));
    let foreign = textfile::foreign(&settings.textfile).into_iter();
    findings.extend(foreign.map(|path| {
        let words = format!(
            "{} defines our metrics too: remove it, node_exporter serves one of the two",
            path.display()
        );
        ("textfile folder", Finding::Bad(words))
    }));
    findings.push(("state folder", state_folder(&settings.state_dir)));
    super::print(&report(&findings))?;
    let bad = findings.iter().any(|(_, finding)| matches!(finding, Finding::Bad(_)));
    Ok(if bad { Exit::Failed } else { Exit::Ok })
}

/// What to say of a source without errors.
fn healthy(name: &str, sample: &Sample, settings: &Settings) -> Finding {
    // The runtime is asked only where others do not know a pod: whether it could be is seen by connecting.
    let unasked = name == "CRI" && !sample.pods.iter().any(|list| *list.source == *"cri");
    match settings.cri_socket.as_ref().filter(|_| unasked).map(|path| (path, UnixStream::connect(path))) {
        Some((path, Err(e))) => Finding::Bad(format!(
            "{}: {e}; mount the runtime's socket into this container, name it with cri.socket, and run as root",
            path.display()
        )),
        _ => Finding::Good(summary(name, sample, settings)),
    }
}

fn summary(name: &str, sample: &Sample, settings: &Settings) -> String {
    match name {
        "driver" => {
            let version = sample
                .driver
                .as_ref()
                .and_then(|driver| driver.version.as_deref())
                .unwrap_or("of unknown version");
            format!("{} answers, driver {version}", settings.nvml_library.display())
        }
        "processes" => format!("{} is the host's", settings.proc_root.display()),
        "process events" => "the kernel tells of every exec and exit".to_owned(),
        "kubelet" => kubelet(sample),
        "Kubernetes API" | "CRI" => pods(name, sample, settings),
        "DCGM exporter" => settings.dcgm_url.as_ref().map_or_else(String::new, |url| {
            format!("{url}: nothing wrong (asked only where NVML has no figure)")
        }),
        _ => users(&settings.users),
    }
}

fn users(names: &Names) -> String {
    match names {
        Names::File(path) => format!("names from {}", path.display()),
        Names::System => "names by this machine's name service (getpwuid)".to_owned(),
        Names::None => {
            "this is a container: users are shown as uid:<n> until users.passwd names the host's passwd file"
                .to_owned()
        }
    }
}

fn kubelet(sample: &Sample) -> String {
    let Some(allocations) = &sample.allocations else { return "it was not asked".to_owned() };
    let held = allocations.containers.len();
    let offered = allocations
        .allocatable
        .as_ref()
        .map_or_else(String::new, |ids| format!(", it can give {}", ids.len()));
    format!("it answers: containers that hold a GPU: {held}{offered}")
}

fn pods(name: &str, sample: &Sample, settings: &Settings) -> String {
    let source = if name == "CRI" { "cri" } else { "kubernetes" };
    let node = settings.kubernetes.as_ref().map_or("", |api| api.node.as_str());
    match sample.pods.iter().find(|list| *list.source == *source) {
        Some(list) if source == "cri" => format!("it answers, pods: {}", list.pods.len()),
        Some(list) if list.pods.is_empty() => {
            format!("it answers, and has no pod on {node:?}: is that this node's name?")
        }
        Some(list) => format!("it answers, pods on {node}: {}", list.pods.len()),
        None => "not asked now: no process is in a pod that others do not know".to_owned(),
    }
}

fn devices(sample: &Sample) -> Vec<Finding> {
    let Some(driver) = &sample.driver else { return Vec::new() };
    let found = driver.devices.iter().map(|device| {
        let facts = &device.facts;
        let profile = facts.mig_profile.as_deref().map(|profile| format!(" {profile}")).unwrap_or_default();
        let model = facts.model.as_deref().unwrap_or("of unknown model");
        let processes =
            device.processes.as_ref().map_or_else(|| "unreadable".to_owned(), |p| p.len().to_string());
        Finding::Good(format!("{} {model}{profile} {} (processes: {processes})", facts.label, facts.uuid))
    });
    let empty = driver.without_instances.iter().map(|gpu| {
        Finding::Warning(format!(
            "GPU {} is in MIG mode and has no instance: make some with nvidia-smi mig -cgi",
            gpu.index
        ))
    });
    let all: Vec<Finding> = found.chain(empty).collect();
    if all.is_empty() {
        vec![Finding::Bad("no device is selected and readable; see gpu.devices".to_owned())]
    } else {
        all
    }
}

fn textfile_folder(path: &Path) -> Finding {
    if let Err(e) = textfile::check_folder(path) {
        return Finding::Bad(e.to_string());
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Finding::Good(format!("{} can be written", folder.display())),
        Err(e) => Finding::Bad(format!("{}: {e}; run as a user who may write there", folder.display())),
    }
}

fn state_folder(path: &Path) -> Finding {
    if !path.exists() {
        return Finding::Warning(format!("{} is not there yet: collect makes it", path.display()));
    }
    match StateFolder::open(path) {
        Ok(_) => Finding::Good(format!("{} can be written", path.display())),
        Err(e) => Finding::Bad(format!("{e:#}")),
    }
}

fn report(findings: &[(&str, Finding)]) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let line = |(name, finding): &(&str, Finding)| {
        let (mark, code, words) = match finding {
            Finding::Good(words) => ("ok  ", "32", words),
            Finding::Warning(words) => ("warn", "33", words),
            Finding::Bad(words) => ("FAIL", "31", words),
        };
        let mark = if colour { format!("\x1b[{code}m{mark}\x1b[0m") } else { mark.to_owned() };
        format!("{mark}  {name:<15}  {words}\n")
    };
    findings.iter().map(line).collect()
}
