//! The scenario format: types, reading, and the defaults that depend on other keys.

/// The schema of a type is that of the one it is read as.
#[cfg(feature = "schema")]
macro_rules! schema_as_written {
    ($type:ty: $written:ty) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$written as schemars::JsonSchema>::schema_name()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                <$written as schemars::JsonSchema>::json_schema(generator)
            }
        }
    };
}
#[cfg(feature = "schema")]
use schema_as_written;

mod defaults;
mod driver;
mod gpu;
mod pods;
mod profile;
mod validate;

use std::path::Path;

use serde::Deserialize;

use crate::code::Code;
use crate::units::{Bytes, Memory, Micros};

pub use driver::{Driver, DriverEvent};
pub use gpu::{Accounting, Gpu, Power, Report};
pub use pods::{Container, Namespace, Pod};
pub use profile::Profile;

/// Why a scenario cannot be used. The text is one line and names the place.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario: {0}")]
    Read(#[from] std::io::Error),
    /// It is not YAML of this format.
    #[error("{0}")]
    Syntax(String),
    /// It is well-formed but contradicts itself; the first field is where.
    #[error("{0}: {1}")]
    Invalid(String, String),
}

/// A node: its driver, its GPUs and what runs on them.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Version of the format: 1.
    pub version: u32,
    /// What the driver says about itself.
    #[serde(default)]
    pub driver: Driver,
    /// When the driver is unloaded, loaded again, or replaced.
    #[serde(default)]
    pub driver_events: Vec<DriverEvent>,
    /// When the node's clock is set: time stamps of before keep what it said then. Who reads the clock of the node must
    /// be told the same; the simulated driver's own (`NVML_SIM_CLOCK`) is not set.
    #[serde(default)]
    pub clock_steps: Vec<ClockStep>,
    /// May the caller list the processes of a GPU in MIG mode through the GPU's own handle?
    #[serde(default = "yes")]
    pub mig_monitor: bool,
    /// How the driver answers for the utilisation of processes.
    #[serde(default)]
    pub utilization: Utilization,
    /// When the host booted, relative to the anchor.
    #[serde(default = "an_hour_ago")]
    pub boot_time: Micros,
    /// The GPUs, by index.
    pub gpus: Vec<Gpu>,
    /// The processes.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Users of the host.
    #[serde(default)]
    pub passwd: Vec<User>,
    /// Pods on the node.
    #[serde(default)]
    pub pods: Vec<Pod>,
    /// Namespaces whose labels or annotations matter; those of pods that are not named here have none.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// Ids of the devices that the kubelet can give to containers.
    #[serde(default)]
    pub allocatable: Vec<String>,
}

/// The clock of the node is set.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    /// When.
    pub at: Micros,
    /// By how much; back where negative.
    pub by: Micros,
}

/// How the driver answers for the utilisation of processes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Utilization {
    /// Which of the behaviours seen on real drivers.
    pub style: Style,
    /// The driver's sample period.
    pub period: Micros,
    /// How long samples are kept.
    pub keep: Micros,
}

impl Default for Utilization {
    fn default() -> Self {
        Self { style: Style::Ring, period: Micros(200_000), keep: Micros(120_000_000) }
    }
}

/// Behaviours of `nvmlDeviceGetProcessUtilization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// One entry per process and sample period, of ended processes too.
    Ring,
    /// One entry per running process: its last period with any use.
    Last,
    /// One entry per running process: the average since the caller's time stamp.
    Average,
}

/// A MIG device: a compute instance in a GPU instance.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mig {
    /// Profile, such as `3g.40gb` or `1c.3g.40gb`.
    pub profile: String,
    /// GPU instance id.
    pub gpu_instance: u32,
    /// Compute instance id.
    pub compute_instance: u32,
    /// UUID; derived from the GPU's index and the place in the list when left out.
    #[serde(default)]
    pub uuid: String,
    /// Memory of its GPU instance; taken from the profile when left out.
    #[serde(default)]
    pub memory: Bytes,
    /// Slices of its GPU instance; taken from the profile when left out.
    #[serde(default)]
    pub slices: u32,
    /// Slices of the compute instance; taken from the profile when left out.
    #[serde(default)]
    pub compute_slices: u32,
    /// Index among the GPU's MIG devices; the lowest free one when left out.
    #[serde(default)]
    pub index: Option<u32>,
    /// When it is created; it was always there when left out.
    #[serde(default)]
    pub from: Option<Micros>,
    /// When it is destroyed; never when left out.
    #[serde(default)]
    pub until: Option<Micros>,
}

/// `GPU instance/compute instance`, as `"1/0"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Instance {
    /// GPU instance id.
    pub gpu_instance: u32,
    /// Compute instance id.
    pub compute_instance: u32,
}

/// A process, or several alike.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Host pid of the first.
    pub pid: u32,
    /// How many there are, with pids from `pid` on.
    #[serde(default = "one")]
    pub count: u32,
    /// Name (comm).
    #[serde(default)]
    pub name: Option<String>,
    /// Name as hexadecimal bytes, for one that is not UTF-8.
    #[serde(default)]
    pub name_hex: Option<String>,
    /// Later names, in the proc tree only.
    #[serde(default)]
    pub names: Vec<Rename>,
    /// Unix user.
    #[serde(default)]
    pub uid: u32,
    /// Text of `/proc/PID/cgroup`.
    #[serde(default = "root_cgroup")]
    pub cgroup: String,
    /// When it starts.
    #[serde(default)]
    pub start: Micros,
    /// When it ends.
    #[serde(default)]
    pub end: Option<Micros>,
    /// Whether it is in `/proc`; if not, only the driver lists it.
    #[serde(default = "yes")]
    pub in_proc: bool,
    /// What it uses.
    #[serde(default)]
    pub devices: Vec<DeviceUse>,
}

/// A new name.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// From when on.
    pub at: Micros,
    /// Name.
    #[serde(default)]
    pub name: Option<String>,
    /// Name as hexadecimal bytes.
    #[serde(default)]
    pub name_hex: Option<String>,
}

/// A process's use of one device.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceUse {
    /// Index of the GPU.
    pub gpu: usize,
    /// Which of its MIG devices.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub instance: Option<Instance>,
    /// The lists it is in.
    #[serde(default = "compute")]
    pub kind: Vec<Kind>,
    /// When its context is opened; the process's start when left out.
    #[serde(default)]
    pub from: Option<Micros>,
    /// When its context is closed; the process's end when left out.
    #[serde(default)]
    pub until: Option<Micros>,
    /// Memory held.
    #[serde(default)]
    pub memory: Memory,
    /// Percent of the time in which its kernels run.
    #[serde(default)]
    pub sm: f64,
    /// Percent of the time in which it reads or writes memory.
    #[serde(default)]
    pub mem: f64,
    /// Percent of the encoder's time.
    #[serde(default)]
    pub enc: f64,
    /// Percent of the decoder's time.
    #[serde(default)]
    pub dec: f64,
    /// Changes over time.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// A change; what it does not set stays.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When.
    pub at: Micros,
    /// Memory from then on.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// As in [`DeviceUse`].
    #[serde(default)]
    pub sm: Option<f64>,
    /// As in [`DeviceUse`].
    #[serde(default)]
    pub mem: Option<f64>,
    /// As in [`DeviceUse`].
    #[serde(default)]
    pub enc: Option<f64>,
    /// As in [`DeviceUse`].
    #[serde(default)]
    pub dec: Option<f64>,
}

/// NVML's process lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `nvmlDeviceGetComputeRunningProcesses`.
    Compute,
    /// `nvmlDeviceGetGraphicsRunningProcesses`.
    Graphics,
    /// `nvmlDeviceGetMPSComputeRunningProcesses`.
    Mps,
}

/// A call that goes wrong.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// From when on; always when left out.
    #[serde(default)]
    pub from: Option<Micros>,
    /// Until when; for ever when left out.
    #[serde(default)]
    pub until: Option<Micros>,
    /// Name of the function, where `*` stands for any characters.
    pub function: String,
    /// Only for this GPU and its MIG devices.
    #[serde(default)]
    pub gpu: Option<usize>,
    /// The code that it returns.
    #[serde(default, rename = "return")]
    pub result: Option<Code>,
    /// It never returns.
    #[serde(default)]
    pub hang: bool,
    /// It takes so much longer.
    #[serde(default)]
    pub delay: Option<Micros>,
}

/// A line of the passwd file.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
}

impl Scenario {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// By how much the node's clock has been set until a moment, microseconds.
    pub fn clock_set_by(&self, at: i64) -> i64 {
        self.clock_steps.iter().filter(|step| step.at.0 <= at).map(|step| step.by.0).sum()
    }

    /// Reads a text, fills in the defaults that depend on other keys, and checks that it makes sense.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        // A whole day of a busy node is long, and a scenario is ours: the reader's own limits are for strangers' files.
        let budget = serde_saphyr::budget! {
            max_nodes: 1 << 24,
            max_events: 1 << 25,
            max_total_scalar_bytes: 1 << 30,
        };
        let options = serde_saphyr::options! { with_snippet: false, budget: budget };
        let mut scenario: Self = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| ScenarioError::Syntax(error.to_string().replace('\n', " ")))?;
        defaults::fill(&mut scenario)?;
        validate::check(&scenario)?;
        Ok(scenario)
    }
}

impl Process {
    /// The name at its start, uncut.
    pub fn first_name(&self) -> Vec<u8> {
        name_bytes(self.name.as_deref(), self.name_hex.as_deref()).unwrap_or_default()
    }

    /// The name at a moment, uncut.
    pub fn name_at(&self, at: Micros) -> Vec<u8> {
        let renamed = self.names.iter().rev().find(|rename| rename.at <= at);
        renamed
            .and_then(|rename| name_bytes(rename.name.as_deref(), rename.name_hex.as_deref()))
            .unwrap_or_else(|| self.first_name())
    }

    /// Whether it runs at a moment.
    pub fn alive_at(&self, at: Micros) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

impl Mig {
    /// Whether it exists at a moment.
    pub fn exists_at(&self, at: Micros) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

impl Fault {
    /// Whether it is on for a function at a moment relative to the anchor; the GPU is the caller's matter.
    pub fn matches(&self, function: &str, at: Micros) -> bool {
        self.from.is_none_or(|from| from <= at)
            && self.until.is_none_or(|until| at < until)
            && glob(self.function.as_bytes(), function.as_bytes())
    }
}

impl TryFrom<String> for Instance {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let ids =
            text.split_once('/').and_then(|(gpu, compute)| Some((gpu.parse().ok()?, compute.parse().ok()?)));
        let (gpu_instance, compute_instance) = ids
            .ok_or_else(|| format!("`{text}` is not `<gpu instance>/<compute instance>`, such as \"1/0\""))?;
        Ok(Self { gpu_instance, compute_instance })
    }
}

/// The one of the two spellings that is given; `None` for both, neither, or bad digits.
fn name_bytes(name: Option<&str>, hex: Option<&str>) -> Option<Vec<u8>> {
    match (name, hex) {
        (Some(name), None) => Some(name.as_bytes().to_vec()),
        (None, Some(hex)) if hex.len() % 2 == 0 && hex.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect()
        }
        _ => None,
    }
}

/// Matches a pattern in which `*` stands for any characters.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        Some((first, rest)) => text.first() == Some(first) && glob(rest, &text[1..]),
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn compute() -> Vec<Kind> {
    vec![Kind::Compute]
}

fn an_hour_ago() -> Micros {
    Micros(-3_600_000_000)
}

fn root_cgroup() -> String {
    "0::/\n".to_owned()
}
