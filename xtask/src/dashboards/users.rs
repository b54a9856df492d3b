//! Who used what in a period.

use super::CLUSTER;
use super::model::{Dashboard, Kind, Panel, Variable};

pub(super) fn dashboard() -> Dashboard {
    let user = Variable {
        label: "user",
        of: r#"{__name__=~"user:gpu_user_(session|allocation)_seconds:rate15m", cluster=~"$cluster"}"#,
        all: true,
    };
    let namespace = Variable {
        label: "namespace",
        of: r#"{__name__=~"namespace:gpu_namespace_(session|allocation)_seconds:rate15m", cluster=~"$cluster"}"#,
        all: true,
    };
    Dashboard {
        uid: "gpu-sessions-users",
        title: "GPU sessions: users and chargeback",
        description: "What users and namespaces held and used in the chosen time; over time the 20 highest. The figures are sums of a rate, which is \
             recorded each minute: what a collector that was away for over 15 minutes counts when it is back is not in them. `gpu-session-monitor report` has it, and the figures to the second.",
        variables: vec![CLUSTER, user, namespace],
        rows: vec![
            ("Chosen time", vec![chargeback("user"), chargeback("namespace")]),
            ("Users over time", over_time("user")),
            ("Namespaces over time", over_time("namespace")),
        ],
    }
}

/// A recorded series of users or namespaces.
fn recorded(who: &str, what: &str) -> String {
    format!("{who}:gpu_{who}_{what}:rate15m{{cluster=~\"$cluster\", {who}=~\"${who}\"}}")
}

fn chargeback(who: &'static str) -> Panel {
    // A value a minute, each a number of GPUs: the sum of them is minutes of a GPU.
    let of_range = |what| format!("sum by ({who}) (sum_over_time({}[$__range]))", recorded(who, what));
    let hours = |what| format!("{} / 60", of_range(what));
    let (title, told) = match who {
        "user" => (
            "Users",
            "Each user's hours: of containers that hold GPUs, of those that do not use them, of sessions, and of SM time; memory in GiB hours; energy. Holders and sessions that share a GPU count each for itself, so that these hours may be more than those of the GPUs. What a collector that was away for over 15 minutes counts when it is back is missing. The empty user is use whose user is not known.",
        ),
        _ => ("Namespaces", "The same of namespaces."),
    };
    Panel::new(Kind::Table, title, "none")
        .told(told)
        .column("held", "h", hours("allocation_seconds"))
        .column("held, not used", "h", hours("idle_allocation_seconds"))
        .column("session hours", "h", hours("session_seconds"))
        .column("SM time", "h", hours("sm_seconds"))
        .column("memory, GiB hours", "none", format!("{} / 60 / 2^30", of_range("memory_byte_seconds")))
        .column("energy", "kwatth", format!("{} / 60 / 1000", of_range("energy_joules")))
}

fn over_time(who: &'static str) -> Vec<Panel> {
    let legend = if who == "user" { "{{user}}" } else { "{{namespace}}" };
    let panel = |kind, title, unit, what: &str| {
        Panel::new(kind, title, unit)
            .query(legend, format!("topk(20, sum by ({who}) ({}))", recorded(who, what)))
    };
    let mut panels = vec![
        panel(Kind::Stacked, "Held GPUs", "none", "allocation_seconds")
            .told("GPUs that containers hold; one that several share counts for each holder."),
        panel(Kind::Stacked, "Held GPUs that are not used", "none", "idle_allocation_seconds")
            .told("Those that are known not to work for their holder."),
        panel(Kind::Stacked, "Busy GPUs", "none", "sm_seconds").told("SM time, in GPUs."),
        panel(Kind::Stacked, "Device memory", "bytes", "memory_byte_seconds").told("What sessions hold."),
        panel(Kind::Stacked, "Power", "watt", "energy_joules")
            .told("The devices' energy, shared by SM time among those who use one together."),
    ];
    if who == "user" {
        panels.push(
            Panel::new(Kind::Lines, "GPUs at once", "none")
                .told("Devices that a user holds or has sessions on, which is what quotas go by.")
                .query(
                    legend,
                    "topk(20, sum by (user) (user:gpu_device_compute_fraction:sum{cluster=~\"$cluster\", user=~\"$user\"}))",
                ),
        );
    }
    panels
}
