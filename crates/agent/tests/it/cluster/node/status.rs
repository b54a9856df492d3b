//! What the API is told of a pod.

use super::agent::Agent;
use super::track::{Run, Track};
use crate::containers::cri;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Since when each condition is as it is.
pub(super) type Since = BTreeMap<&'static str, (bool, String)>;

/// A pod as it is.
pub(super) struct Told<'a> {
    pub(super) phase: &'static str,
    /// Why it has failed, where no container says so.
    pub(super) reason: Option<&'a (&'static str, String)>,
    pub(super) has_sandbox: bool,
    pub(super) started: &'a str,
}

/// The status of a pod.
pub(super) fn status(agent: &Agent, told: &Told<'_>, tracks: &[Track], since: &mut Since) -> Value {
    let initialized = tracks.iter().filter(|track| track.init).all(|track| track.exit_code() == Some(0));
    let ready = tracks.iter().filter(|track| !track.init).all(Track::is_ready);
    let over = matches!(told.phase, "Succeeded" | "Failed");
    let facts = [
        ("PodReadyToStartContainers", told.has_sandbox && !over),
        ("Initialized", initialized),
        ("ContainersReady", ready),
        ("Ready", ready),
    ];
    let conditions: Vec<Value> = facts.into_iter().map(|(kind, is)| condition(kind, is, since)).collect();
    let list = |init: bool| -> Vec<Value> {
        let some = tracks.iter().filter(|track| track.init == init);
        some.map(|track| container(track, initialized)).collect()
    };
    let mut status = json!({
        "phase": told.phase,
        "hostIP": agent.ip,
        "hostIPs": [{ "ip": agent.ip }],
        "startTime": told.started,
        "conditions": conditions,
        "containerStatuses": list(false),
    });
    if tracks.iter().any(|track| track.init) {
        status["initContainerStatuses"] = Value::from(list(true));
    }
    if told.has_sandbox {
        status["podIP"] = json!(agent.ip);
        status["podIPs"] = json!([{ "ip": agent.ip }]);
    }
    if let Some((reason, message)) = told.reason {
        status["reason"] = json!(reason);
        status["message"] = json!(message);
    }
    status
}

fn condition(kind: &'static str, is: bool, since: &mut Since) -> Value {
    let now = || Timestamp::now().to_string();
    let known = since.entry(kind).or_insert_with(|| (is, now()));
    if known.0 != is {
        *known = (is, now());
    }
    json!({ "type": kind, "status": if is { "True" } else { "False" }, "lastTransitionTime": known.1 })
}

fn moment(nanoseconds: i64) -> Value {
    let moment = Timestamp::from_nanosecond(i128::from(nanoseconds)).ok().filter(|_| nanoseconds > 0);
    moment.map_or(Value::Null, |moment| json!(format!("{moment:.0}")))
}

fn container(track: &Track, initialized: bool) -> Value {
    let run = track.run.as_ref();
    let state = match (&track.problem, run) {
        (Some((reason, message)), _) => json!({ "waiting": { "reason": reason, "message": message } }),
        (None, Some(_)) if track.waits => {
            let message = "back-off restarting failed container";
            json!({ "waiting": { "reason": "CrashLoopBackOff", "message": message } })
        }
        (None, Some(run)) => state(run),
        (None, None) => {
            let reason = if track.init || initialized { "ContainerCreating" } else { "PodInitializing" };
            json!({ "waiting": { "reason": reason } })
        }
    };
    let last = if track.waits { run } else { track.last.as_ref() };
    let done = track.init && track.exit_code() == Some(0);
    let mut status = json!({
        "name": track.container.name,
        "image": track.container.image.clone().unwrap_or_default(),
        "imageID": run.map_or("", |run| run.status.image_ref.as_str()),
        "ready": track.is_ready() && !track.init || done,
        "started": track.is_running(),
        "restartCount": track.restarts,
        "state": state,
        "lastState": last.map_or_else(|| json!({}), self::state),
    });
    if let Some(run) = run {
        status["containerID"] = json!(format!("containerd://{}", run.id));
    }
    status
}

fn state(run: &Run) -> Value {
    let status = &run.status;
    match status.state {
        cri::RUNNING => json!({ "running": { "startedAt": moment(status.started_at) } }),
        cri::EXITED => json!({ "terminated": {
            "exitCode": status.exit_code,
            "reason": status.reason,
            "message": status.message,
            "startedAt": moment(status.started_at),
            "finishedAt": moment(status.finished_at),
            "containerID": format!("containerd://{}", run.id),
        } }),
        _ => json!({ "waiting": { "reason": "ContainerCreating" } }),
    }
}
