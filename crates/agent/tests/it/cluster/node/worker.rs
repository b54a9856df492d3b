//! A pod's life on the node.

use super::agent::{Agent, News, PAUSE, name, namespace, uid};
use super::config::{self, spec};
use super::status::{self, Since, Told};
use super::track::{Sandbox, Track};
use super::volumes;
use crate::containers::{cgroups, cri};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two looks at the containers.
const TICK: Duration = Duration::from_millis(200);

struct Worker {
    agent: Arc<Agent>,
    pod: Pod,
    sandbox: Option<Sandbox>,
    /// Init containers first, in their order.
    tracks: Vec<Track>,
    /// What the API was told last.
    told: Option<Value>,
    since: Since,
    phase: &'static str,
    /// Why it has failed, where no container says so.
    reason: Option<(&'static str, String)>,
    began: Instant,
    started: String,
}

/// Runs a pod until it is gone.
pub(super) async fn run(agent: Arc<Agent>, pod: Pod, mut heard: watch::Receiver<News>) {
    if matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
    {
        return;
    }
    let mut worker = Worker::new(agent, pod);
    loop {
        match heard.borrow_and_update().clone() {
            News::Gone => break,
            News::Wanted(pod) => worker.pod = *pod,
        }
        if worker.pod.metadata.deletion_timestamp.is_some() {
            worker.delete().await;
            break;
        }
        let pause = worker.step().await;
        tokio::select! {
            changed = heard.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(pause), if !worker.is_over() => {}
        }
    }
    worker.clean().await;
}

impl Worker {
    fn new(agent: Arc<Agent>, pod: Pod) -> Self {
        let init = spec(&pod).init_containers.iter().flatten().map(|container| Track::new(container, true));
        let main = spec(&pod).containers.iter().map(|container| Track::new(container, false));
        let tracks = init.chain(main).collect();
        let reason = config::unsupported(&pod).map(|what| ("UnexpectedAdmissionError", what));
        Self {
            agent,
            pod,
            sandbox: None,
            tracks,
            told: None,
            since: Since::new(),
            phase: if reason.is_some() { "Failed" } else { "Pending" },
            reason,
            began: Instant::now(),
            started: format!("{:.0}", Timestamp::now()),
        }
    }

    /// Whether all is done and told.
    fn is_over(&self) -> bool {
        matches!(self.phase, "Succeeded" | "Failed") && self.told.is_some()
    }

    /// Does what is to be done now; how long to wait before the next step.
    async fn step(&mut self) -> Duration {
        if self.is_over() {
            return TICK;
        }
        let mut pause = TICK;
        if self.phase == "Pending" && self.sandbox.is_none() {
            match self.set_up().await {
                Ok(sandbox) => self.sandbox = Some(sandbox),
                Err(error) => {
                    // As a kubelet does: it may be there a moment later.
                    self.tracks[0].problem = Some(("ContainerCreating", error));
                    pause = PAUSE;
                }
            }
        }
        if let Some(sandbox) = self.sandbox.take() {
            self.tracks[0].problem.take_if(|(reason, _)| *reason == "ContainerCreating");
            self.advance(&sandbox).await;
            self.sandbox = Some(sandbox);
        }
        if matches!(self.phase, "Succeeded" | "Failed") {
            self.stop_sandbox().await;
        }
        self.tell().await;
        pause
    }

    async fn set_up(&self) -> Result<Sandbox, String> {
        let volumes = volumes::make(&self.agent, &self.pod).await?;
        let handler = self.handler().await?;
        let config = config::sandbox(&self.agent, &self.pod);
        std::fs::create_dir_all(&config.log_directory).map_err(|error| error.to_string())?;
        let nvidia = handler == "nvidia";
        let request = cri::RunSandboxRequest { config: Some(config.clone()), handler };
        let cri::Id { id } = self.agent.runtime("RunPodSandbox", request).await?;
        Ok(Sandbox { id, config, volumes, nvidia })
    }

    /// Handler of the pod's RuntimeClass; empty without one.
    async fn handler(&self) -> Result<String, String> {
        let Some(class) = &spec(&self.pod).runtime_class_name else { return Ok(String::new()) };
        let api: Api<RuntimeClass> = Api::all(self.agent.client());
        api.get(class)
            .await
            .map(|class| class.handler)
            .map_err(|error| format!("RuntimeClass {class}: {error}"))
    }

    /// Runs what is to be run now, and sees what has ended.
    async fn advance(&mut self, sandbox: &Sandbox) {
        let (agent, pod) = (self.agent.clone(), self.pod.clone());
        let policy = spec(&pod).restart_policy.as_deref().unwrap_or("Always");
        for track in &mut self.tracks {
            // What cannot be asked now is asked again.
            let _ = track.refresh(&agent).await;
            track.probe(&agent, spec(&pod).termination_grace_period_seconds.unwrap_or(30)).await;
        }
        if self.is_late() {
            for track in &mut self.tracks {
                track.stop(&agent, 1).await;
            }
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            (self.phase, self.reason) = ("Failed", Some(("DeadlineExceeded", message)));
            return;
        }
        for track in self.tracks.iter_mut().filter(|track| track.init) {
            match track.exit_code() {
                Some(0) => continue,
                Some(_) if policy == "Never" => self.phase = "Failed",
                Some(_) => track.restart(&agent, &pod, sandbox).await,
                None if track.run.is_none() => track.start(&agent, &pod, sandbox).await,
                None => {}
            }
            return;
        }
        for track in self.tracks.iter_mut().filter(|track| !track.init) {
            match track.exit_code() {
                Some(code) if policy == "Always" || policy == "OnFailure" && code != 0 => {
                    track.restart(&agent, &pod, sandbox).await;
                }
                None if track.run.is_none() => track.start(&agent, &pod, sandbox).await,
                _ => {}
            }
        }
        self.phase = self.phase_now(policy);
    }

    fn is_late(&self) -> bool {
        let limit = spec(&self.pod).active_deadline_seconds.and_then(|limit| u64::try_from(limit).ok());
        limit.is_some_and(|limit| self.began.elapsed() > Duration::from_secs(limit))
    }

    /// The phase of a pod whose init containers are done.
    fn phase_now(&self, policy: &str) -> &'static str {
        let main = || self.tracks.iter().filter(|track| !track.init);
        let codes: Option<Vec<i32>> = main().map(Track::exit_code).collect();
        match codes {
            Some(codes) if codes.iter().all(|code| *code == 0) && policy != "Always" => "Succeeded",
            Some(_) if policy == "Never" => "Failed",
            _ if main().any(|track| track.run.is_some() || track.last.is_some()) => "Running",
            _ => "Pending",
        }
    }

    /// Tells the API what is new.
    async fn tell(&mut self) {
        let told = Told {
            phase: self.phase,
            reason: self.reason.as_ref(),
            has_sandbox: self.sandbox.is_some(),
            started: &self.started,
        };
        let status = status::status(&self.agent, &told, &self.tracks, &mut self.since);
        if self.told.as_ref() == Some(&status) {
            return;
        }
        let patch = json!({ "metadata": { "uid": uid(&self.pod) }, "status": status });
        let told = self
            .pods()
            .patch_status(&name(&self.pod), &PatchParams::default(), &Patch::Strategic(patch))
            .await;
        // One that is not told is told at the next step.
        self.told = told.is_ok().then_some(status);
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.agent.client(), &namespace(&self.pod))
    }

    /// Ends the pod as the API asks, and lets its object go.
    async fn delete(&mut self) {
        let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
        let agent = self.agent.clone();
        for track in &mut self.tracks {
            track.stop(&agent, grace).await;
        }
        if !matches!(self.phase, "Succeeded" | "Failed") {
            let main = self.tracks.iter().filter(|track| !track.init);
            let well = main.map(Track::exit_code).all(|code| code == Some(0));
            self.phase = if well { "Succeeded" } else { "Failed" };
        }
        self.tell().await;
        let preconditions = Preconditions { uid: Some(uid(&self.pod)), resource_version: None };
        let params =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }.grace_period(0);
        // It may be gone already.
        let _ = self.pods().delete(&name(&self.pod), &params).await;
    }

    async fn stop_sandbox(&self) {
        if let Some(sandbox) = &self.sandbox {
            let _ = self
                .agent
                .runtime::<_, cri::Nothing>("StopPodSandbox", cri::Id { id: sandbox.id.clone() })
                .await;
        }
    }

    /// Removes all that the pod has left on the node. What fails here goes with the containerd.
    async fn clean(&mut self) {
        self.stop_sandbox().await;
        self.agent.forget(&self.pod);
        if let Some(sandbox) = self.sandbox.take() {
            let _ =
                self.agent.runtime::<_, cri::Nothing>("RemovePodSandbox", cri::Id { id: sandbox.id }).await;
        }
        for cgroup in cgroups(&config::cgroup(&self.pod)) {
            let _ = std::fs::remove_dir(cgroup);
        }
        for folder in [volumes::folder(&self.agent, &self.pod), config::logs(&self.agent, &self.pod)] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}
