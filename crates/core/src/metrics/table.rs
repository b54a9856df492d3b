//! Every metric, once.

use super::series::{Series, Shared};
use super::{SessionText, View};
use crate::accounting::{Counter, GpuTotals, Method, Usage};
use crate::json::seconds;
use crate::snapshot::{AllocationView, DeviceView, Occupancy};
use std::sync::Arc;

/// Type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Counts by buckets, with the suffixes `_bucket`, `_sum` and `_count`; the label `le` is not among its labels.
    Histogram,
}

/// A metric: what it is called, what it means, and how a snapshot gives its series.
pub struct Metric {
    /// Name, as in the text format.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Label names, in the order in which they are written.
    pub labels: &'static [&'static str],
    /// Meaning and unit.
    pub help: &'static str,
    /// Section of the reference that it stands in.
    pub section: &'static str,
    /// Writes its series.
    pub(super) emit: fn(&View<'_>, &mut Series<'_>),
}

const SEED: &str = "Sessions and processes";
const USERS: &str = "Users";
const PODS: &str = "Pods, namespaces and allocations";
const SESSION: &str = "Sessions in detail";
const DEVICE: &str = "Devices";
/// Section of what says how the collector itself fares.
pub const COLLECTOR: &str = "The collector itself";

/// Metrics that depend on when they are read, from [`super::Context::age`] alone.
pub const AGE: [&str; 2] = ["gpu_session_collector_snapshot_age_seconds", "gpu_session_collector_stale"];

const BY_USER: &[&str] = &["gpu", "user"];
const BY_NAMESPACE: &[&str] = &["gpu", "namespace"];
const BY_POD: &[&str] = &["gpu", "namespace", "pod"];
const USER_ENERGY: &[&str] = &["gpu", "user", "method"];
const NAMESPACE_ENERGY: &[&str] = &["gpu", "namespace", "method"];
const POD_ENERGY: &[&str] = &["gpu", "namespace", "pod", "method"];
const SESSION_ENERGY: &[&str] = &["session", "gpu", "namespace", "pod", "container", "user", "method"];
pub(super) const PROCESS: &[&str] = &["gpu", "pid", "command", "pod", "namespace"];
pub(super) const BY_SESSION: &[&str] = &["session", "gpu", "namespace", "pod", "container", "user"];
const BY_ALLOCATION: &[&str] = &["gpu", "namespace", "pod", "container", "user"];

macro_rules! metric {
    ($section:ident $kind:ident $name:literal $labels:expr, $help:literal, $emit:expr) => {
        Metric {
            name: $name,
            kind: Kind::$kind,
            labels: $labels,
            help: $help,
            section: $section,
            emit: $emit,
        }
    };
}

/// A sum over sessions or allocations: of a user, a namespace or a pod.
macro_rules! sum {
    ($section:ident $who:ident $labels:ident $name:literal, $help:expr, $counter:expr) => {
        Metric {
            name: $name,
            kind: Kind::Counter,
            labels: $labels,
            help: $help,
            section: $section,
            emit: |view, series| sums(view, series, Who::$who, $counter),
        }
    };
}

/// As [`sum`], for energy: a series for each method.
macro_rules! energy {
    ($section:ident $who:ident $labels:ident $name:literal, $of:literal) => {
        Metric {
            name: $name,
            kind: Kind::Counter,
            labels: $labels,
            help: concat!("Energy that the sessions of the ", $of, " used, by method: sole is the device's whole energy while the session was alone on it, sm_share the device's energy shared by SM time. Plain GPUs that measure it only."),
            section: $section,
            emit: |view, series| energy(view, series, Who::$who),
        }
    };
}

/// What the sums of a user, a namespace or a pod are called and mean.
macro_rules! help {
    (sessions $of:literal) => {
        concat!(
            "Time that the sessions of the ",
            $of,
            " were on the device, ended ones too, in whole GPUs: sessions side by side add up."
        )
    };
    (measured $of:literal) => {
        concat!(
            "That part of the session time of the ",
            $of,
            " in which SM time was measured: SM seconds divided by this are the mean use."
        )
    };
    (ended $of:literal) => {
        concat!(
            "Sessions of the ",
            $of,
            " on the device that ended; each once, those that came and went between two samples too."
        )
    };
    (allocated $of:literal) => {
        concat!(
            "Time for which containers of the ",
            $of,
            " held the device by the kubelet's word, in whole GPUs; containers that share a device add up."
        )
    };
    (idle $of:literal) => {
        concat!(
            "That part of the allocation time of the ",
            $of,
            " in which the device is known not to have worked for the container."
        )
    };
}

/// All metrics, in the order in which they are written.
pub static TABLE: &[Metric] = &[
    metric!(SEED Gauge "gpu_session_count" &["gpu"],
        "Sessions (processes) on the device now; 0 for an idle device, absent for one that cannot be read.",
        |v, s| occupied(v, |gpu, o| s.write(&[gpu], o.sessions as f64))),
    metric!(SEED Gauge "gpu_total_sessions" &[],
        "Sessions on all selected devices now; absent while one of them cannot be read.",
        |v, s| s.maybe(&[], v.snapshot.total_sessions.map(|n| n as f64))),
    metric!(SEED Gauge "gpu_process_info"
    &["gpu", "pid", "command", "pod", "namespace", "container", "status"],
    "Always 1: a process on the device. pid is gpu<gpu>_<host pid>, command the process name as first seen.",
    |v, s| live(v, |t| {
        let [namespace, pod, container] = t.pod();
        s.write(&[&t.gpu, &t.seed_pid, t.command(), pod, namespace, container, "active"], 1.0);
    })),
    metric!(SEED Gauge "gpu_process_utilization" PROCESS,
        "Percent (0-100) of the time since the last sample in which the process's kernels ran on the device; not the share of its SMs. Absent where the driver does not say.",
        |v, s| live(v, |t| s.maybe_shared(&t.process, t.view.session.sm_share().map(percent)))),
    metric!(SEED Gauge "gpu_process_memory_utilization" PROCESS,
        "Percent (0-100) of the device's memory that the process holds.",
        |v, s| live(v, |t| s.maybe_shared(&t.process, t.view.memory_ratio().map(percent)))),
    metric!(USERS Gauge "gpu_session_users" &["gpu"],
        "Distinct known users on the device now; sessions without one are in gpu_sessions_unattributed.",
        |v, s| occupied(v, |gpu, o| s.write(&[gpu], o.users.len() as f64))),
    metric!(USERS Gauge "gpu_user_sessions" &["gpu", "user"],
        "Sessions of the user on the device now.",
        |v, s| occupied(v, |gpu, o| counts(&o.users, |user, n| s.write(&[gpu, user], n)))),
    metric!(USERS Gauge "gpu_sessions_unattributed" &["gpu", "reason"],
        "Sessions on the device whose user is not known, by reason: pod_unknown (no source knows the pod), pod_ambiguous (several pods may be meant), metadata_unknown and namespace_unknown (the pod's or namespace's labels could not be read), no_rule (no rule names a user), container_unknown (a container outside Kubernetes), mps_server, user_pending (the name service has not answered), process_unreadable.",
        |v, s| occupied(v, |gpu, o| counts(&o.unattributed, |reason, n| s.write(&[gpu, reason], n)))),
    sum!(USERS User BY_USER "gpu_user_sm_seconds_total",
        "Seconds of SM time that the user's sessions used, ended ones too, in whole GPUs: a MIG slice counts by gpu_device_compute_fraction. The empty user is use whose user is not known, _other the users beyond the limit.",
        |usage| usage.sm_seconds),
    sum!(USERS User BY_USER "gpu_user_memory_byte_seconds_total",
        "Integral over time of the device memory that the user's sessions held, ended ones too.",
        |usage| usage.memory_byte_seconds),
    energy!(USERS User USER_ENERGY "gpu_user_energy_joules_total", "user"),
    sum!(USERS User BY_USER "gpu_user_session_seconds_total", help!(sessions "user"), |usage| usage.session_seconds),
    sum!(USERS User BY_USER "gpu_user_measured_session_seconds_total", help!(measured "user"), |usage| usage.measured_seconds),
    sum!(USERS User BY_USER "gpu_user_sessions_ended_total", help!(ended "user"), |usage| usage.sessions_ended),
    sum!(USERS User BY_USER "gpu_user_allocation_seconds_total", help!(allocated "user"), |usage| usage.allocation_seconds),
    sum!(USERS User BY_USER "gpu_user_idle_allocation_seconds_total", help!(idle "user"), |usage| usage.idle_allocation_seconds),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_sm_seconds_total",
        "Seconds of SM time that the sessions of the namespace's pods used, ended ones too, in whole GPUs. The empty namespace is use outside any namespace that is known, _other the namespaces beyond the limit.",
        |usage| usage.sm_seconds),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_memory_byte_seconds_total",
        "Integral over time of the device memory that the sessions of the namespace's pods held, ended ones too.",
        |usage| usage.memory_byte_seconds),
    energy!(PODS Namespace NAMESPACE_ENERGY "gpu_namespace_energy_joules_total", "namespace"),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_session_seconds_total", help!(sessions "namespace"), |usage| usage.session_seconds),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_measured_session_seconds_total", help!(measured "namespace"), |usage| usage.measured_seconds),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_sessions_ended_total", help!(ended "namespace"), |usage| usage.sessions_ended),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_allocation_seconds_total", help!(allocated "namespace"), |usage| usage.allocation_seconds),
    sum!(PODS Namespace BY_NAMESPACE "gpu_namespace_idle_allocation_seconds_total", help!(idle "namespace"), |usage| usage.idle_allocation_seconds),
    sum!(PODS Pod BY_POD "gpu_pod_sm_seconds_total",
        "Seconds of SM time that the pod's sessions used, ended ones too, in whole GPUs. Stays 10 minutes after the pod's last use; _other are the pods beyond the limit.",
        |usage| usage.sm_seconds),
    sum!(PODS Pod BY_POD "gpu_pod_memory_byte_seconds_total",
        "Integral over time of the device memory that the pod's sessions held, ended ones too. Stays 10 minutes after the pod's last use.",
        |usage| usage.memory_byte_seconds),
    energy!(PODS Pod POD_ENERGY "gpu_pod_energy_joules_total", "pod"),
    sum!(PODS Pod BY_POD "gpu_pod_session_seconds_total", help!(sessions "pod"), |usage| usage.session_seconds),
    sum!(PODS Pod BY_POD "gpu_pod_measured_session_seconds_total", help!(measured "pod"), |usage| usage.measured_seconds),
    sum!(PODS Pod BY_POD "gpu_pod_sessions_ended_total", help!(ended "pod"), |usage| usage.sessions_ended),
    sum!(PODS Pod BY_POD "gpu_pod_allocation_seconds_total", help!(allocated "pod"), |usage| usage.allocation_seconds),
    sum!(PODS Pod BY_POD "gpu_pod_idle_allocation_seconds_total", help!(idle "pod"), |usage| usage.idle_allocation_seconds),
    metric!(PODS Gauge "gpu_allocation_sessions" BY_ALLOCATION,
        "Sessions of the container on a device that the kubelet gave it: 0 is held but idle. Absent where a session may or may not be the container's, and where there are none and it is not known whether the pod still runs.",
        |v, s| allocations(v, |a, labels| s.maybe_shared(labels, a.sessions.map(|n| n as f64)))),
    metric!(PODS Gauge "gpu_allocation_idle_seconds" BY_ALLOCATION,
        "Time since the device last worked for the container, or since it was given to it, as far back as that was watched without a gap. Absent where it is not sure.",
        |v, s| allocations(v, |a, labels| s.maybe_shared(labels, a.idle_us.map(seconds)))),
    metric!(PODS Gauge "gpu_device_allocations" &["gpu"],
        "Containers that hold the device by the kubelet's word: 0 is free. Absent where the kubelet did not say, or cannot give the device to anyone.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.allocations.map(|n| n as f64)))),
    metric!(SESSION Gauge "gpu_session_info"
    &["session", "gpu", "namespace", "pod", "container", "user", "uuid", "pid", "command", "attributed_by", "user_rule", "place"],
    "Always 1: a session, with what is known of it. uuid is the device's, attributed_by what placed the process, user_rule what named the user; place is where it runs outside Kubernetes: its unit, Slurm job or container.",
    |v, s| live(v, |t| {
        let [session, gpu, namespace, pod, container, user] = t.by_session_values();
        let (placed, rule) = (&t.view.session.attribution.attributed_by, &t.view.session.attribution.user_rule);
        let (uuid, placed, rule) = (&*t.view.device_uuid, text(placed), text(rule));
        s.write(&[session, gpu, namespace, pod, container, user, uuid, &t.pid, t.command(), placed, rule, &t.place()], 1.0);
    })),
    metric!(SESSION Gauge "gpu_session_memory_used_bytes" BY_SESSION,
        "Device memory that the session holds.",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, t.view.session.memory_bytes.map(|b| b as f64)))),
    metric!(SESSION Gauge "gpu_session_sm_utilization_ratio" BY_SESSION,
        "Share (0-1) of the time since the last sample in which the session's kernels ran; not the share of SMs. On a MIG instance only where the session is alone there (GPM, over the window; else the DCGM exporter).",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, t.view.session.sm_share().map(rounded)))),
    metric!(SESSION Gauge "gpu_session_memory_busy_ratio" BY_SESSION,
        "Share (0-1) of the time since the last sample in which the session read or wrote device memory; not its bandwidth.",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, share(t, 1)))),
    metric!(SESSION Gauge "gpu_session_encoder_utilization_ratio" BY_SESSION,
        "Share (0-1) of the video encoder since the last sample.",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, share(t, 2)))),
    metric!(SESSION Gauge "gpu_session_decoder_utilization_ratio" BY_SESSION,
        "Share (0-1) of the video decoder since the last sample.",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, share(t, 3)))),
    metric!(SESSION Gauge "gpu_session_start_time_seconds" BY_SESSION,
        "Unix time at which the session was first seen on the device.",
        |v, s| live(v, |t| s.shared(&t.by_session, seconds(t.view.session.first_seen_us)))),
    metric!(SESSION Gauge "gpu_session_last_active_time_seconds" BY_SESSION,
        "Unix time at which the session was last known to use an engine of the device; absent while it never did.",
        |v, s| live(v, |t| s.maybe_shared(&t.by_session, t.view.session.last_active_us.map(seconds)))),
    metric!(SESSION Counter "gpu_session_sm_seconds_total" BY_SESSION,
        "Seconds of SM time that the session used, in time of its device. Stays 10 minutes after the session ended.",
        |v, s| all(v, |t| s.counter_shared(&t.by_session, t.view.session.sm_seconds))),
    metric!(SESSION Counter "gpu_session_memory_byte_seconds_total" BY_SESSION,
        "Integral over time of the device memory that the session held. Stays 10 minutes after the session ended.",
        |v, s| all(v, |t| s.counter_shared(&t.by_session, t.view.session.memory_byte_seconds))),
    metric!(SESSION Counter "gpu_session_energy_joules_total" SESSION_ENERGY,
        "Energy that the session used, by method: sole is the device's whole energy while the session was alone on it, sm_share the device's energy shared by SM time. Stays 10 minutes after the session ended. Plain GPUs that measure it only.",
        |v, s| all(v, |t| session_energy(t, s))),
    metric!(SESSION Counter "gpu_sessions_started_total" &["gpu"],
        "Sessions that began on the device, as far as they were seen.",
        |v, s| totals(v, |gpu, t| s.counter(&[gpu], t.started))),
    metric!(SESSION Counter "gpu_sessions_ended_total" &["gpu"],
        "Sessions on the device that ended; each once, those that came and went between two samples too.",
        |v, s| totals(v, |gpu, t| s.counter(&[gpu], t.ended))),
    metric!(SESSION Histogram "gpu_session_duration_seconds" &["gpu"],
        "Durations of the sessions that ended.",
        |v, s| totals(v, |gpu, t| s.histogram(&[gpu], t))),
    metric!(DEVICE Gauge "gpu_device_info"
        &["gpu", "uuid", "parent_uuid", "model", "mig_profile", "gpu_instance_id", "compute_instance_id", "pci_bus_id", "driver_version"],
        "Always 1: a device, a GPU or a MIG instance. Joins with the DCGM exporter's UUID and GPU_I_ID.",
        device_info),
    metric!(DEVICE Gauge "gpu_device_memory_total_bytes" &["gpu"],
        "Memory of the device.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.facts.memory_total_bytes.map(|b| b as f64)))),
    metric!(DEVICE Gauge "gpu_device_memory_used_bytes" &["gpu"],
        "Memory in use on the device; without what the driver reserves where the driver tells them apart.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.memory_used_bytes.map(|b| b as f64)))),
    metric!(DEVICE Gauge "gpu_device_utilization_ratio" &["gpu"],
        "Share (0-1) of the time in which any kernel ran on the device. Whole GPU: NVML, over the driver's last sample period; MIG instance: GPM, since the last sample. Where neither says, the DCGM exporter (dcgm.url), over a time that it does not say.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.utilization_ratio.map(rounded)))),
    metric!(DEVICE Counter "gpu_device_energy_joules_total" &["gpu"],
        "Energy that the GPU's board used since the driver was loaded, measured by it. Whole GPUs only: nothing measures a MIG instance's.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.energy_joules))),
    metric!(DEVICE Gauge "gpu_device_compute_fraction" &["gpu"],
        "The device's share (0-1) of a physical GPU's compute slices: 1 for a whole GPU.",
        |v, s| devices(v, |gpu, d| s.maybe(&[gpu], d.facts.compute_fraction))),
    metric!(COLLECTOR Gauge "gpu_session_collector_source_up" &["source"],
        "1 if the source answered everything that was asked of it in the last sample, else 0.",
        |v, s| v.snapshot.health.iter().for_each(|h| s.write(&[&h.source], f64::from(u8::from(h.up))))),
    metric!(COLLECTOR Gauge "gpu_session_collector_source_duration_seconds" &["source"],
        "Time that reading the source took in the last sample.",
        |v, s| v.snapshot.health.iter().for_each(|h| s.write(&[&h.source], h.duration_us as f64 / 1e6))),
    metric!(COLLECTOR Counter "gpu_session_collector_source_errors_total" &["source", "kind"],
        "Errors of the source by kind (an NVML return code's name, or what failed).",
        |v, s| v.snapshot.counters.source_errors.iter().for_each(|(source, kind, n)| s.write(&[source, kind], *n))),
    metric!(COLLECTOR Gauge "gpu_session_collector_source_data_age_seconds" &["source"],
        "Age of the pods that the source knows: 0 while it answers; the last known are used while it does not.",
        |v, s| v.snapshot.pods_age_us.iter().for_each(|(source, age)| s.write(&[source], seconds(*age)))),
    metric!(COLLECTOR Gauge "gpu_session_collector_last_sample_timestamp_seconds" &[],
        "Unix time of the last sample.",
        |v, s| s.maybe(&[], Some(v.snapshot.time_us).filter(|at| *at != 0).map(seconds))),
    metric!(COLLECTOR Gauge "gpu_session_collector_snapshot_age_seconds" &[],
        "Age of the snapshot when it was read, or sent by OTLP. Not in a file, which has no age.",
        |v, s| s.maybe(&[], v.context.age.map(|(age, _)| age))),
    metric!(COLLECTOR Gauge "gpu_session_collector_stale" &[],
        "1 if the snapshot is older than it should be, else 0. Not in a file.",
        |v, s| s.maybe(&[], v.context.age.map(|(_, stale)| f64::from(u8::from(stale))))),
    metric!(COLLECTOR Gauge "gpu_session_collector_config_last_reload_successful" &[],
        "1 if the configuration was good when it was read last, else 0: the settings of before stay. Only of `serve`.",
        |v, s| s.maybe(&[], v.context.reload.map(|(good, _)| f64::from(u8::from(good))))),
    metric!(COLLECTOR Gauge "gpu_session_collector_config_last_reload_success_timestamp_seconds" &[],
        "Unix time at which good configuration was read last. Only of `serve`.",
        |v, s| s.maybe(&[], v.context.reload.map(|(_, at)| at))),
    metric!(COLLECTOR Counter "gpu_session_collector_unobserved_seconds_total" &["gpu"],
        "Time of the device whose use by process could not be measured.",
        |v, s| totals(v, |gpu, t| s.counter_at_once(&[gpu], t.unobserved))),
    metric!(COLLECTOR Counter "gpu_session_collector_write_errors_total" &["target"],
        "Failures to write, by what could not be written: state, ledger or textfile; otlp is what could not be sent.",
        |v, s| v.snapshot.counters.write_errors.iter().for_each(|(target, n)| s.write(&[target], *n))),
    metric!(COLLECTOR Gauge "gpu_session_collector_build_info" &["version", "revision"],
        "Always 1: version and commit of the collector.",
        |v, s| s.write(&[v.context.version, v.context.revision], 1.0)),
    metric!(COLLECTOR Counter "gpu_session_collector_series_dropped_total" &[],
        "Sessions whose own series were left out because there are more than sessions.limit; they count in all sums.",
        |v, s| s.write(&[], v.snapshot.counters.dropped)),
    metric!(COLLECTOR Gauge "gpu_session_collector_foreign_textfiles" &[],
        "Other files in the textfile folder that define metrics of these names: node_exporter would serve one of the two.",
        |v, s| s.maybe(&[], v.context.foreign_textfiles.map(|n| n as f64))),
];

fn occupied(view: &View<'_>, mut write: impl FnMut(&str, &Occupancy)) {
    devices(view, |gpu, device| {
        if let Some(occupancy) = &device.occupancy {
            write(gpu, occupancy);
        }
    });
}

fn devices(view: &View<'_>, mut write: impl FnMut(&str, &DeviceView)) {
    for (gpu, device) in view.devices.iter().zip(&view.snapshot.devices) {
        write(gpu, device);
    }
}

fn device_info(view: &View<'_>, series: &mut Series<'_>) {
    devices(view, |gpu, device| {
        let facts = &device.facts;
        let (gi, ci) =
            facts.label.instance.map_or_else(Default::default, |(gi, ci)| (gi.to_string(), ci.to_string()));
        let (parent, model) = (text(&facts.parent_uuid), text(&facts.model));
        let (profile, pci) = (text(&facts.mig_profile), text(&facts.pci_bus_id));
        let driver = text(&view.snapshot.driver_version);
        series.write(&[gpu, &facts.uuid, parent, model, profile, &gi, &ci, pci, driver], 1.0);
    });
}

fn counts(list: &[(Arc<str>, u64)], mut write: impl FnMut(&str, f64)) {
    for (name, count) in list {
        write(name, *count as f64);
    }
}

/// Whose sums.
#[derive(Clone, Copy)]
enum Who {
    User,
    Namespace,
    Pod,
}

fn each_sum(view: &View<'_>, who: Who, mut write: impl FnMut(&[&str], &Usage)) {
    let counters = &view.snapshot.counters;
    let named = match who {
        Who::User => &counters.users,
        Who::Namespace => &counters.namespaces,
        Who::Pod => {
            for (gpu, namespace, pod, usage) in &counters.pods {
                write(&[&gpu.to_string(), namespace, pod], usage);
            }
            return;
        }
    };
    for (gpu, name, usage) in named {
        write(&[&gpu.to_string(), name], usage);
    }
}

fn sums(view: &View<'_>, series: &mut Series<'_>, who: Who, counter: fn(&Usage) -> Option<Counter>) {
    each_sum(view, who, |labels, usage| series.counter(labels, counter(usage)));
}

fn energy(view: &View<'_>, series: &mut Series<'_>, who: Who) {
    each_sum(view, who, |labels, usage| {
        for method in Method::ALL {
            series.counter(&[labels, &[method.name()]].concat(), usage.energy_joules[method as usize]);
        }
    });
}

fn session_energy(text: &SessionText<'_>, series: &mut Series<'_>) {
    for method in Method::ALL {
        let [id, gpu, namespace, pod, container, user] = text.by_session_values();
        let labels = [id, gpu, namespace, pod, container, user, method.name()];
        series.counter(&labels, text.view.session.energy_joules[method as usize]);
    }
}

fn totals(view: &View<'_>, mut write: impl FnMut(&str, &GpuTotals)) {
    for (gpu, totals) in &view.snapshot.counters.gpus {
        write(&gpu.to_string(), totals);
    }
}

fn allocations(view: &View<'_>, mut write: impl FnMut(&AllocationView, &Shared)) {
    for a in &view.snapshot.allocations {
        let values = [&*a.gpu.to_string(), &a.namespace, &a.pod, &a.container, text(&a.user)];
        write(a, &Shared::new(BY_ALLOCATION, &values));
    }
}

fn all(view: &View<'_>, write: impl FnMut(&SessionText<'_>)) {
    view.sessions.iter().for_each(write);
}

fn live(view: &View<'_>, write: impl FnMut(&SessionText<'_>)) {
    view.sessions.iter().filter(|text| text.view.live).for_each(write);
}

fn share(text: &SessionText<'_>, engine: usize) -> Option<f64> {
    text.view.session.shares.map(|shares| rounded(shares[engine]))
}

fn text(slot: &Option<Arc<str>>) -> &str {
    slot.as_deref().unwrap_or("")
}

/// A ratio to the millionth: what lies below is noise of the arithmetic.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1e6).round() / 1e6
}

fn percent(ratio: f64) -> f64 {
    (ratio * 1e8).round() / 1e6
}
