//! What the types cannot say.

use std::collections::HashSet;
use std::fmt::Display;

use super::{DeviceUse, DriverEvent, Fault, Gpu, Mig, Pod, Process, Scenario, ScenarioError, name_bytes};
use crate::units::Micros;

/// More would only be a typing error, and the pids would not fit.
const MOST_PROCESSES: u32 = 4_000_000;

type Check = Result<(), ScenarioError>;

fn ensure(holds: bool, place: impl FnOnce() -> String, message: impl Display) -> Check {
    if holds { Ok(()) } else { Err(ScenarioError::Invalid(place(), message.to_string())) }
}

pub(super) fn check(scenario: &Scenario) -> Check {
    ensure(scenario.version == 1, || "version".to_owned(), format!("{} is not 1", scenario.version))?;
    let periods = &scenario.utilization;
    ensure(periods.period.0 >= 1000, || "utilization.period".to_owned(), "must be 1 ms or more")?;
    ensure(
        periods.keep >= periods.period,
        || "utilization.keep".to_owned(),
        "must not be less than the period",
    )?;
    check_events(&scenario.driver_events)?;
    check_gpus(&scenario.gpus)?;
    for (at, process) in scenario.processes.iter().enumerate() {
        let place = format!("processes[{at}]");
        check_process(scenario, process, &place)?;
        check_pids(&scenario.processes[..at], process, &place)?;
    }
    for (at, fault) in scenario.faults.iter().enumerate() {
        check_fault(scenario, fault, &format!("faults[{at}]"))?;
    }
    check_pods(&scenario.pods)?;
    for (at, user) in scenario.passwd.iter().enumerate() {
        let plain = !user.name.is_empty() && !user.name.contains([':', '\n']);
        ensure(plain, || format!("passwd[{at}].name"), "must not be empty nor hold `:` or a line end")?;
    }
    Ok(())
}

/// The driver is loaded at first; it goes and comes by turns, and is replaced only while it is there.
fn check_events(events: &[DriverEvent]) -> Check {
    let mut loaded = true;
    ensure(
        events.is_sorted_by(|one, next| one.at < next.at),
        || "driver_events".to_owned(),
        "must be in the order of time",
    )?;
    for (at, event) in events.iter().enumerate() {
        let place = || format!("driver_events[{at}]");
        let one = event.unloaded.is_some() != event.upgrade.is_some();
        ensure(one, place, "needs either `unloaded` or `upgrade`")?;
        let named = event.version.is_none() || event.unloaded == Some(false);
        ensure(named, place, "`version` goes with `unloaded: false`")?;
        let fits = if event.unloaded == Some(false) { !loaded } else { loaded };
        let state = if loaded { "loaded" } else { "unloaded" };
        ensure(fits, place, format!("the driver is {state} at that moment"))?;
        loaded = event.unloaded != Some(true);
    }
    Ok(())
}

fn check_pods(pods: &[Pod]) -> Check {
    let mut uids = HashSet::new();
    for (at, pod) in pods.iter().enumerate() {
        let here = |key: &str| format!("pods[{at}].{key}");
        ensure(uids.insert(&pod.uid), || here("uid"), format!("`{}` occurs twice", pod.uid))?;
        let ends = [pod.end, pod.deleted];
        let ordered = ends.into_iter().flatten().all(|end| pod.start <= end);
        ensure(ordered, || here("start"), "must not be after the end")?;
        let id = |id: &str| id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        let bad = pod.containers.iter().position(|container| !id(&container.id));
        let place = || here(&format!("containers[{}].id", bad.unwrap_or(0)));
        ensure(bad.is_none(), place, "must be 64 hexadecimal digits")?;
    }
    Ok(())
}

fn check_gpus(gpus: &[Gpu]) -> Check {
    let mut uuids = HashSet::new();
    let mut buses = HashSet::new();
    ensure(gpus.len() <= 4096, || "gpus".to_owned(), "more than 4096")?;
    for (at, gpu) in gpus.iter().enumerate() {
        let place = format!("gpus[{at}]");
        let here = |key: &str| format!("{place}.{key}");
        ensure(!gpu.model.is_empty(), || here("model"), "is needed, or a `profile`")?;
        ensure(uuids.insert(gpu.uuid.as_str()), || here("uuid"), format!("`{}` occurs twice", gpu.uuid))?;
        let bus = crate::engine::parse_bus_id(&gpu.pci);
        let message = format!("`{}` is not a bus id such as 00000000:1B:00.0", gpu.pci);
        ensure(bus.is_some(), || here("pci"), message)?;
        ensure(buses.insert(bus), || here("pci"), format!("`{}` occurs twice", gpu.pci))?;
        ensure(gpu.memory.0 > 0, || here("memory"), "is needed, or a `profile`, and must not be 0")?;
        ensure(gpu.reserved <= gpu.memory, || here("reserved"), "is more than the memory")?;
        ensure((1..=64).contains(&gpu.slices), || here("slices"), "must be 1 to 64")?;
        ensure(gpu.mig_capable || gpu.mig.is_none(), || here("mig"), "the GPU is not capable of MIG")?;
        ensure(gpu.power.idle <= gpu.power.busy, || here("power"), "`idle` is more than `busy`")?;
        let accounting = gpu.accounting;
        ensure(accounting.buffer > 0, || here("accounting.buffer"), "must not be 0")?;
        let possible = accounting.supported && gpu.mig.is_none();
        let message = "is not possible: the GPU does not support it, or is in MIG mode";
        ensure(possible || !accounting.enabled, || here("accounting.enabled"), message)?;
        let migs = gpu.mig.as_deref().unwrap_or_default();
        for (position, mig) in migs.iter().enumerate() {
            ensure(uuids.insert(&mig.uuid), || here(&format!("mig[{position}].uuid")), "occurs twice")?;
            check_mig(gpu, &migs[..position], mig, &here(&format!("mig[{position}]")))?;
        }
    }
    Ok(())
}

fn check_mig(gpu: &Gpu, earlier: &[Mig], mig: &Mig, place: &str) -> Check {
    let fits = mig.index.is_some_and(|index| index < gpu.slices);
    ensure(fits, || format!("{place}.index"), format!("the GPU has {} slices", gpu.slices))?;
    ensure(
        mig.from.zip(mig.until).is_none_or(|(from, until)| from < until),
        || format!("{place}.until"),
        "is not after `from`",
    )?;
    for other in earlier.iter().filter(|other| overlap(other, mig)) {
        let ids = (other.gpu_instance, other.compute_instance) != (mig.gpu_instance, mig.compute_instance);
        ensure(ids, || place.to_owned(), "an instance with these ids exists at the same time")?;
        ensure(other.index != mig.index, || format!("{place}.index"), "is taken at the same time")?;
    }
    Ok(())
}

/// Whether two MIG devices exist at the same time.
pub(super) fn overlap(one: &Mig, other: &Mig) -> bool {
    intersect((one.from, one.until), (other.from, other.until))
}

fn intersect(one: (Option<Micros>, Option<Micros>), other: (Option<Micros>, Option<Micros>)) -> bool {
    let before = |until: Option<Micros>, from: Option<Micros>| {
        until.zip(from).is_some_and(|(until, from)| until <= from)
    };
    !before(one.1, other.0) && !before(other.1, one.0)
}

fn check_process(scenario: &Scenario, process: &Process, place: &str) -> Check {
    let here = |key: &str| format!("{place}.{key}");
    ensure(process.pid > 0, || here("pid"), "must not be 0")?;
    ensure(
        (1..=MOST_PROCESSES).contains(&process.count),
        || here("count"),
        format!("must be 1 to {MOST_PROCESSES}"),
    )?;
    ensure(process.pid.checked_add(process.count).is_some(), || here("count"), "the pids do not fit")?;
    let name = name_bytes(process.name.as_deref(), process.name_hex.as_deref());
    ensure(
        name.is_some(),
        || here("name"),
        "give either `name`, or `name_hex` with pairs of hexadecimal digits",
    )?;
    ensure(process.start >= scenario.boot_time, || here("start"), "is before `boot_time`")?;
    ensure(process.end.is_none_or(|end| process.start < end), || here("end"), "is not after `start`")?;
    for (at, rename) in process.names.iter().enumerate() {
        let name = name_bytes(rename.name.as_deref(), rename.name_hex.as_deref());
        ensure(name.is_some(), || here(&format!("names[{at}]")), "give either `name` or `name_hex`")?;
    }
    ensure(
        process.names.is_sorted_by_key(|rename| rename.at),
        || here("names"),
        "must be in the order of time",
    )?;
    for (at, usage) in process.devices.iter().enumerate() {
        let place = here(&format!("devices[{at}]"));
        check_use(scenario, process, usage, &place)?;
        let same = |other: &DeviceUse| (other.gpu, other.instance) == (usage.gpu, usage.instance);
        let twice = process.devices[..at].iter().any(same);
        ensure(!twice, || place, "the process has this device already; use `steps` or a list of kinds")?;
    }
    Ok(())
}

fn check_use(scenario: &Scenario, process: &Process, usage: &DeviceUse, place: &str) -> Check {
    let here = |key: &str| format!("{place}.{key}");
    let count = scenario.gpus.len();
    let missing = || format!("there is no GPU {}, only {count}", usage.gpu);
    let gpu = scenario.gpus.get(usage.gpu).ok_or_else(|| ScenarioError::Invalid(here("gpu"), missing()))?;
    ensure(!usage.kind.is_empty(), || here("kind"), "must not be empty")?;
    let from = usage.from.unwrap_or(process.start);
    ensure(from >= process.start, || here("from"), "is before the process starts")?;
    let until = usage.until.or(process.end);
    ensure(until.is_none_or(|until| from < until), || here("until"), "is not after `from`")?;
    let within = process.end.is_none_or(|end| until.is_some_and(|until| until <= end));
    ensure(within, || here("until"), "is after the process ends")?;
    match (&gpu.mig, usage.instance) {
        (None, Some(_)) => ensure(false, || here("instance"), "the GPU has no `mig`")?,
        (Some(_), None) => ensure(false, || here("instance"), "is needed: the GPU is in MIG mode")?,
        (Some(_), Some(instance)) => {
            let found = crate::engine::find_instance(gpu, instance, from).is_some();
            ensure(found, || here("instance"), "there is no such instance when the context is opened")?;
        }
        (None, None) => {}
    }
    let steps = &usage.steps;
    ensure(
        steps.is_sorted_by(|one, next| one.at < next.at),
        || here("steps"),
        "must be in the order of time",
    )?;
    ensure(
        steps.first().is_none_or(|first| from <= first.at),
        || here("steps"),
        "the first is before `from`",
    )?;
    let first = [usage.sm, usage.mem, usage.enc, usage.dec];
    let later = steps.iter().flat_map(|step| [step.sm, step.mem, step.enc, step.dec]).flatten();
    let percent = first.into_iter().chain(later).all(|value| (0.0..=100.0).contains(&value));
    ensure(percent, || place.to_owned(), "sm, mem, enc and dec are percent, 0 to 100")
}

/// A pid may be used again, but not by two processes at the same time.
fn check_pids(earlier: &[Process], process: &Process, place: &str) -> Check {
    let pids = |process: &Process| (process.pid, process.pid.saturating_add(process.count));
    let (first, end) = pids(process);
    let clash = earlier.iter().any(|other| {
        let (other_first, other_end) = pids(other);
        let life = (Some(process.start), process.end);
        first < other_end && other_first < end && intersect((Some(other.start), other.end), life)
    });
    ensure(!clash, || format!("{place}.pid"), "another process has it at the same time")
}

fn check_fault(scenario: &Scenario, fault: &Fault, place: &str) -> Check {
    let acts = fault.hang || fault.result.is_some() || fault.delay.is_some();
    ensure(acts, || place.to_owned(), "needs `return`, `hang` or `delay`")?;
    ensure(!fault.hang || fault.result.is_none(), || place.to_owned(), "what hangs does not return")?;
    ensure(
        fault.delay.is_none_or(|delay| delay.0 >= 0),
        || format!("{place}.delay"),
        "must not be negative",
    )?;
    let known = fault.gpu.is_none_or(|gpu| gpu < scenario.gpus.len());
    ensure(known, || format!("{place}.gpu"), format!("there are only {} GPUs", scenario.gpus.len()))
}
