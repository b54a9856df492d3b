//! `/proc/PID/cgroup`: which pod, container, unit or job a process is in.

use super::is_clean;
use crate::{Target, corpus};
use gpu_session_core::cgroup::{Kind, Place};
use gpu_session_core::text::MAX_LABEL_BYTES;
use std::sync::{Arc, LazyLock};

/// Of these bytes alone.
pub(super) const TARGET: Target = Target {
    name: "cgroup",
    cases: 6_000,
    words: &[
        "/",
        "..",
        "/../",
        "0::/",
        "\n",
        ":",
        " (deleted)",
        ".slice",
        ".scope",
        ".service",
        "kubepods",
        "kubepods.slice/",
        "-kubepods",
        "burstable",
        "besteffort",
        "pod",
        "cri-containerd-",
        "crio-",
        "crio-conmon-",
        "docker-",
        "libpod-",
        "lxc/",
        "lxc.payload.",
        "machine.slice/machine-",
        "systemd-nspawn@",
        "user.slice/user-1000.slice/",
        "user@1000.service/",
        "slurm/uid_1000/",
        "slurmstepd.scope/",
        "job_42/",
        "step_0/",
        "system.slice/",
        "default/",
        "\\x2d",
        "1f0a8f5e-3c1d-4b86-9a57-0c8e64d2b913",
    ],
    seeds: texts,
    run: any_text,
};

/// Of cgroups that a process of a known layout made below its own.
pub(super) const NESTED: Target =
    Target { name: "cgroup-nested", cases: 6_000, words: TARGET.words, seeds: nested_seeds, run: nested };

/// A layout of the test data: what a process's file says and what it means.
struct Layout {
    text: String,
    place: Place,
}

static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| {
    let all: serde_json::Value =
        serde_json::from_slice(&corpus::file("testdata/cgroups/layouts.json")).unwrap();
    let layout = |layout: &serde_json::Value| Layout {
        text: layout["text"].as_str().unwrap().to_owned(),
        place: serde_json::from_value(layout["place"].clone()).unwrap(),
    };
    all.as_array().unwrap().iter().map(layout).collect()
});

fn texts() -> Vec<Vec<u8>> {
    LAYOUTS.iter().map(|layout| layout.text.clone().into_bytes()).collect()
}

fn any_text(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let place = Place::of(&text);
    let label = |label: &Option<Arc<str>>| label.as_ref().is_none_or(|label| is_clean(label));
    assert!(label(&place.pod_uid) && label(&place.container_id) && label(&place.name), "{place:?}");
    let shown = place.to_string();
    assert!(is_clean(&shown), "{shown:?}");
    if let Some(uid) = &place.pod_uid {
        assert_eq!(place.kind, Kind::Pod);
        assert!(text.replace('_', "-").contains(&format!("pod{uid}")), "{uid} is not there");
    }
    if let Some(id) = &place.container_id {
        assert!(id.len() > MAX_LABEL_BYTES - 9 || text.contains(&**id), "{id} is not there");
    }
    assert_eq!(Place::of(&text.lines().rev().collect::<Vec<_>>().join("\n")), place, "the order of lines");
    let written = serde_json::to_string(&place).unwrap();
    assert_eq!(serde_json::from_str::<Place>(&written).unwrap(), place, "{written}");
}

/// One byte chooses the layout, the rest is the path below.
fn nested(bytes: &[u8]) {
    let Some((which, below)) = bytes.split_first() else { return };
    let layout = &LAYOUTS[usize::from(*which) % LAYOUTS.len()];
    // The kernel lets no cgroup have a line end in its name.
    let below = format!("/{}", String::from_utf8_lossy(below).replace('\n', ""));
    let text: String = layout.text.lines().map(|line| inside(line, &layout.place, &below)).collect();
    let place = Place::of(&text);
    match layout.place.kind {
        Kind::Pod if layout.place.container_id.is_some() => assert_eq!(place, layout.place, "{text}"),
        Kind::Pod | Kind::Lxc | Kind::Machine | Kind::Slurm => {
            assert_eq!(place.kind, layout.place.kind, "{text}");
            assert!(layout.place.pod_uid.is_none() || place.pod_uid == layout.place.pod_uid, "{text}");
        }
        // What a user of the host makes in his slice.
        _ if layout.text.contains(":/user.slice/user-") => assert_ne!(place.kind, Kind::Pod, "{text}"),
        Kind::Host | Kind::Unit | Kind::Container => {}
    }
}

/// A line after the process moved to a cgroup below its own. Hierarchies that stop early are not the process's to change.
fn inside(line: &str, of: &Place, below: &str) -> String {
    let line = line.strip_suffix(" (deleted)").unwrap_or(line);
    let own = Place::of(line);
    let whole = own.kind == of.kind && own.container_id == of.container_id && own.name == of.name;
    if whole { format!("{line}{below}\n") } else { format!("{line}\n") }
}

fn nested_seeds() -> Vec<Vec<u8>> {
    // Each layout with a path of another below it.
    let paths: Vec<&str> =
        LAYOUTS.iter().filter_map(|layout| layout.text.lines().next()?.splitn(3, ':').nth(2)).collect();
    let seed = |n: usize| {
        let which = [u8::try_from(n % 256).unwrap()];
        [&which, paths[(n * 7 + 3) % paths.len()].as_bytes()].concat()
    };
    (0..LAYOUTS.len()).map(seed).collect()
}
