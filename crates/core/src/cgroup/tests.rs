use super::*;
use crate::text::MAX_LABEL_BYTES;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// One process's cgroup file and what it means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    name: String,
    /// The software, its version, driver and cgroup version.
    origin: String,
    /// Read from a process that the software itself had started.
    #[serde(default)]
    produced: bool,
    text: String,
    place: Place,
    shown: String,
}

static LAYOUTS: LazyLock<Vec<Layout>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../testdata/cgroups/layouts.json")).unwrap()
});

fn of(path: &str) -> Place {
    Place::of(&format!("0::{path}\n"))
}

#[test]
fn every_layout_is_understood() {
    let wrong: Vec<String> = LAYOUTS
        .iter()
        .filter_map(|layout| {
            let place = Place::of(&layout.text);
            let right = place == layout.place && place.to_string() == layout.shown;
            (!right).then(|| format!("{}: {place:?} shown as `{place}`, not {layout:#?}", layout.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_layouts_are_many_told_apart_and_say_where_they_are_from() {
    let names: BTreeSet<&str> = LAYOUTS.iter().map(|layout| layout.name.as_str()).collect();
    let texts: BTreeSet<&str> = LAYOUTS.iter().map(|layout| layout.text.as_str()).collect();
    assert_eq!(names.len(), LAYOUTS.len());
    assert!(texts.len() >= 150, "{} different texts", texts.len());
    assert!(LAYOUTS.iter().filter(|layout| layout.produced).count() >= 38);
    assert!(LAYOUTS.iter().all(|layout| layout.origin.len() > 10));
}

#[test]
fn line_order_does_not_matter() {
    for layout in LAYOUTS.iter() {
        let backwards: Vec<&str> = layout.text.lines().rev().collect();
        assert_eq!(Place::of(&backwards.join("\n")), layout.place, "{}", layout.name);
    }
}

#[test]
fn a_place_survives_being_written_and_read() {
    for layout in LAYOUTS.iter() {
        let written = serde_json::to_string(&layout.place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&written).unwrap(), layout.place);
    }
    assert_eq!(serde_json::to_string(&Place::default()).unwrap(), r#"{"kind":"host"}"#);
}

#[test]
fn containers_pods_and_what_is_inside_jobs_are_containerised() {
    let containerised = |kind| Place { kind, ..Place::default() }.is_containerised();
    assert!([Kind::Container, Kind::Lxc, Kind::Machine, Kind::Pod].into_iter().all(containerised));
    assert!(![Kind::Host, Kind::Unit, Kind::Slurm].into_iter().any(containerised));
    let in_job = LAYOUTS.iter().find(|layout| layout.name == "slurm-with-podman").unwrap();
    assert!(is_containerised(&in_job.text));
    assert!(!is_containerised(""));
}

#[test]
fn nothing_inside_a_pod_changes_its_place() {
    let inside: BTreeSet<&str> = LAYOUTS
        .iter()
        .filter(|layout| !layout.text.contains("/.."))
        .flat_map(|layout| layout.text.lines().filter_map(line_path))
        .collect();
    let in_pods = |layout: &&Layout| layout.place.kind == Kind::Pod && layout.place.container_id.is_some();
    for pod in LAYOUTS.iter().filter(in_pods) {
        for inner in &inside {
            let text: String = pod.text.lines().map(|line| nest(line, inner)).collect();
            assert_eq!(Place::of(&text), pod.place, "{} in {}", inner, pod.name);
        }
    }
}

/// The line as it is for a process that moved to a cgroup below its own; hierarchies that stop early are as before.
fn nest(line: &str, inner: &str) -> String {
    let line = line.strip_suffix(" (deleted)").unwrap_or(line);
    let full = line.contains("pod") && line.rsplit('/').next().is_some_and(|last| !last.starts_with("pod"));
    if full { format!("{line}{inner}\n") } else { format!("{line}\n") }
}

#[test]
fn names_that_a_user_chose_are_cleaned_and_cut() {
    let long = "x".repeat(5_000);
    let unit = of(&format!("/system.slice/{long}.service")).name.unwrap();
    assert_eq!(unit.len(), MAX_LABEL_BYTES);
    assert_eq!(of("/lxc.payload.a\u{202e}\x1bb").name.as_deref(), Some("a\u{fffd}\u{fffd}b"));
    let machine = of("/machine.slice/machine-a\\x0ab\\xff\\xzz\\x.scope").name.unwrap();
    assert_eq!(&*machine, "a\u{fffd}b\u{fffd}\\xzz\\x");
    let machine = of(&format!("/machine.slice/machine-{}.scope", "\\x41".repeat(5_000))).name.unwrap();
    assert_eq!(machine.len(), MAX_LABEL_BYTES);
}

#[test]
fn numbers_that_fit_nowhere_are_not_taken() {
    let huge = "9".repeat(30);
    assert_eq!(of(&format!("/slurm/uid_1000/job_{huge}/step_0")).name, None);
    assert_eq!(of(&format!("/slurm/uid_{huge}/job_1/step_0")), Place::default());
    assert_eq!(of("/slurm/uid_4294967295/job_1/step_-1").name.as_deref(), Some("1"));
    assert_eq!(of("/slurm/uid_+1/job_1"), Place::default());
}

#[test]
fn long_texts_of_nested_names_are_read_in_one_pass() {
    let node = "docker/2f1a3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809/";
    for part in ["kubepods.slice/", "kubepods/", "lxc/", "a.slice:b:c/", "../", node] {
        let text = format!("0::/{}\n", part.repeat(100_000));
        assert!(Place::of(&text).name.is_none_or(|name| name.len() <= MAX_LABEL_BYTES));
    }
}

/// Parts that paths of every layout are made of, to be put together anyhow.
fn part() -> impl Strategy<Value = String> {
    let parts: BTreeSet<String> = LAYOUTS
        .iter()
        .flat_map(|layout| layout.text.split(['/', '\n']))
        .map(ToOwned::to_owned)
        .chain(["", "..", "pod", "job_", "uid_", ".scope", ".slice", "\n1::"].map(ToOwned::to_owned))
        .collect();
    prop::sample::select(parts.into_iter().collect::<Vec<_>>())
}

fn mutated() -> impl Strategy<Value = String> {
    let layouts: Vec<&str> = LAYOUTS.iter().map(|layout| layout.text.as_str()).collect();
    let edit = (any::<prop::sample::Index>(), 0..9_usize, prop_oneof![part(), ".{0,3}"]);
    (prop::sample::select(layouts), prop::collection::vec(edit, 0..6)).prop_map(|(text, edits)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, removed, put) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + removed).min(chars.len());
            chars.splice(at..end, put.chars());
        }
        chars.into_iter().collect()
    })
}

fn check(text: &str) {
    let place = Place::of(text);
    let label = |label: &Option<Arc<str>>| {
        let harmless = |c: char| !c.is_control();
        label.as_ref().is_none_or(|l| l.len() <= MAX_LABEL_BYTES && l.chars().all(harmless))
    };
    assert!(label(&place.pod_uid) && label(&place.container_id) && label(&place.name), "{place:?}");
    assert!(place.to_string().len() <= MAX_LABEL_BYTES + "container:".len());
    if let Some(uid) = &place.pod_uid {
        assert!(text.replace('_', "-").contains(&format!("pod{uid}")), "{uid} is not in {text}");
        assert_eq!(place.kind, Kind::Pod);
    }
    if let Some(id) = &place.container_id {
        assert!(text.contains(&**id), "{id} is not in {text}");
    }
    assert_eq!(place.is_containerised(), is_containerised(text));
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in ".{0,400}") {
        check(&text);
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mutated_layouts_are_read_without_harm(text in mutated()) {
        check(&text);
    }

    #[test]
    fn paths_of_parts_are_read_without_harm(
        lines in prop::collection::vec(prop::collection::vec(part(), 0..8), 0..5)
    ) {
        let lines: Vec<String> = lines.iter().map(|parts| format!("0::/{}", parts.join("/"))).collect();
        check(&lines.join("\n"));
    }
}
