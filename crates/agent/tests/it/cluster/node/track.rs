//! One container of a pod, through all its runs.

use super::agent::Agent;
use super::probe::Prober;
use super::{config, env};
use crate::containers::cri;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Pauses before a container is run again: none, then these, growing; a kubelet's.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A run of a container.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) status: cri::ContainerStatus,
}

/// A container, through all its runs.
pub(super) struct Track {
    pub(super) container: Container,
    pub(super) init: bool,
    /// Runs before this one.
    pub(super) restarts: u32,
    pub(super) run: Option<Run>,
    pub(super) last: Option<Run>,
    /// Why it cannot be run: a reason and a message.
    pub(super) problem: Option<(&'static str, String)>,
    /// Why it will be run again, though not yet.
    pub(super) waits: bool,
    /// When the run was seen to have ended.
    ended: Option<Instant>,
    pause: Duration,
    ready: Option<Prober>,
    alive: Option<Prober>,
}

/// A pod's sandbox, with what its containers need of it.
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) config: cri::SandboxConfig,
    pub(super) volumes: BTreeMap<String, PathBuf>,
    /// Whether its runtime puts the driver in.
    pub(super) nvidia: bool,
}

impl Track {
    pub(super) fn new(container: &Container, init: bool) -> Self {
        Self {
            container: container.clone(),
            init,
            restarts: 0,
            run: None,
            last: None,
            problem: None,
            waits: false,
            ended: None,
            pause: Duration::ZERO,
            ready: None,
            alive: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.status.state == cri::RUNNING)
    }

    /// Whether it runs and says that it is ready, where it is asked.
    pub(super) fn is_ready(&self) -> bool {
        self.is_running() && self.ready.as_ref().is_none_or(|ready| ready.found)
    }

    /// Asks a running container what it is to be asked now, and ends it where it is dead.
    pub(super) async fn probe(&mut self, agent: &Agent, grace: i64) {
        if !self.is_running() {
            return;
        }
        for prober in self.ready.iter_mut().chain(&mut self.alive) {
            prober.ask(agent, &self.container).await;
        }
        if self.alive.as_ref().is_some_and(|alive| !alive.found) {
            self.stop(agent, grace).await;
        }
    }

    /// Its exit code, once it has ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.run.as_ref().filter(|run| run.status.state == cri::EXITED).map(|run| run.status.exit_code)
    }

    /// Asks the runtime how it is.
    pub(super) async fn refresh(&mut self, agent: &Agent) -> Result<(), String> {
        let Some(run) = &mut self.run else { return Ok(()) };
        if run.status.state == cri::EXITED {
            return Ok(());
        }
        let request = cri::ContainerStatusRequest { id: run.id.clone(), verbose: false };
        let answer: cri::ContainerStatusResponse = agent.runtime("ContainerStatus", request).await?;
        run.status = answer.status.unwrap_or_default();
        if run.status.state == cri::EXITED {
            self.ended = Some(Instant::now());
        }
        Ok(())
    }

    /// Runs it for the first time.
    pub(super) async fn start(&mut self, agent: &Agent, pod: &Pod, sandbox: &Sandbox) {
        self.problem = self.try_start(agent, pod, sandbox).await.err();
    }

    /// Runs it again, unless it must wait.
    pub(super) async fn restart(&mut self, agent: &Agent, pod: &Pod, sandbox: &Sandbox) {
        self.waits = self.ended.is_some_and(|ended| ended.elapsed() < self.pause);
        if self.waits {
            return;
        }
        if let Some(run) = self.run.take() {
            // It may be gone already.
            let _ = agent.runtime::<_, cri::Nothing>("RemoveContainer", cri::Id { id: run.id.clone() }).await;
            self.last = Some(run);
            self.restarts += 1;
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        }
        self.start(agent, pod, sandbox).await;
    }

    async fn try_start(
        &mut self,
        agent: &Agent,
        pod: &Pod,
        sandbox: &Sandbox,
    ) -> Result<(), (&'static str, String)> {
        let image = cri::ImageSpec { image: self.container.image.clone().unwrap_or_default() };
        let request = cri::ImageStatusRequest { image: Some(image.clone()) };
        let found: cri::ImageStatusResponse =
            agent.images("ImageStatus", request).await.map_err(|error| ("ImageInspectError", error))?;
        if found.image.is_none() {
            return Err(("ErrImagePull", format!("{}: the tests' node pulls nothing", image.image)));
        }
        let config_error = |error| ("CreateContainerConfigError", error);
        let env = env::variables(agent, pod, &self.container).await.map_err(config_error)?;
        let mut config = config::container(pod, &self.container, self.restarts, env, &sandbox.volumes)
            .map_err(config_error)?;
        if sandbox.nvidia {
            agent.driver.add_to(&mut config);
        }
        let folder = config::logs(agent, pod).join(&self.container.name);
        std::fs::create_dir_all(folder).map_err(|error| ("CreateContainerError", error.to_string()))?;
        let request = cri::CreateContainerRequest {
            sandbox: sandbox.id.clone(),
            config: Some(config),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let cri::Id { id } = agent
            .runtime("CreateContainer", request)
            .await
            .map_err(|error| ("CreateContainerError", error))?;
        agent.ran(pod, &self.container.name, &id);
        self.run = Some(Run { id: id.clone(), status: cri::ContainerStatus::default() });
        self.ready = self.container.readiness_probe.as_ref().map(|probe| Prober::new(probe, false));
        self.alive = self.container.liveness_probe.as_ref().map(|probe| Prober::new(probe, true));
        // One that cannot be started has ended, and its status says why.
        let _ = agent.runtime::<_, cri::Nothing>("StartContainer", cri::Id { id }).await;
        self.refresh(agent).await.map_err(|error| ("RunContainerError", error))
    }

    /// Asks it to end, kills it after these seconds, and waits for that.
    pub(super) async fn stop(&mut self, agent: &Agent, grace: i64) {
        let Some(run) = self.run.as_ref().filter(|_| self.is_running()) else { return };
        let request = cri::StopContainerRequest { id: run.id.clone(), timeout: grace };
        // What fails here the end of the sandbox does.
        let _ = agent.runtime::<_, cri::Nothing>("StopContainer", request).await;
        let _ = self.refresh(agent).await;
    }
}
