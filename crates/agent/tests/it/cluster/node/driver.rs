//! What NVIDIA's container runtime puts into a container: here the simulated driver.

use crate::containers::cri::{ContainerConfig, Mount, Variable};
use nvml_sim::scenario::Scenario;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the scenario lies in a container.
const INSIDE: &str = "/run/nvml-sim";
/// Folders that the loader searches, as the base images of distributions have them.
const LIBRARIES: &str =
    if cfg!(target_arch = "aarch64") { "/usr/lib/aarch64-linux-gnu" } else { "/usr/lib/x86_64-linux-gnu" };

/// The driver of one node.
pub(super) struct Driver {
    /// Holds the scenario.
    folder: PathBuf,
    /// When its work began, Unix seconds.
    epoch: u64,
}

impl Driver {
    pub(super) fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // The work has begun before anybody looks.
        Self { folder, epoch: now - 60 }
    }

    /// What a program that loads the driver finds from now on.
    pub(super) fn set(&self, scenario: &str) {
        Scenario::parse(scenario).unwrap_or_else(|e| panic!("{e}\n{scenario}"));
        // In one step, for a program that is running may be reading it.
        std::fs::write(self.folder.join("new"), scenario).unwrap();
        std::fs::rename(self.folder.join("new"), self.folder.join("scenario.yaml")).unwrap();
    }

    /// Puts it into a container that asks for devices, as the runtime class `nvidia` does.
    pub(super) fn add_to(&self, config: &mut ContainerConfig) {
        let asked = config.env.iter().find(|variable| variable.key == "NVIDIA_VISIBLE_DEVICES");
        if asked.is_none_or(|variable| matches!(variable.value.as_str(), "" | "void" | "none")) {
            return;
        }
        let library = std::fs::canonicalize(crate::node::driver()).unwrap();
        for (host, inside) in
            [(library, format!("{LIBRARIES}/libnvidia-ml.so.1")), (self.folder.clone(), INSIDE.to_owned())]
        {
            let host_path = host.to_str().unwrap().to_owned();
            config.mounts.push(Mount { container_path: inside, host_path, readonly: true });
        }
        for (key, value) in [
            ("NVML_SIM_SCENARIO", format!("{INSIDE}/scenario.yaml")),
            ("NVML_SIM_EPOCH", self.epoch.to_string()),
        ] {
            config.env.push(Variable { key: key.to_owned(), value });
        }
    }
}

/// Number of GPUs of a scenario.
pub(super) fn gpus(scenario: &str) -> usize {
    Scenario::parse(scenario).unwrap_or_else(|e| panic!("{e}\n{scenario}")).gpus.len()
}

/// The node's passwd file: root, and the users of a scenario.
pub(super) fn passwd(scenario: &str) -> String {
    let mut text = "root:x:0:0:root:/root:/bin/sh\n".to_owned();
    for user in Scenario::parse(scenario).unwrap_or_else(|e| panic!("{e}\n{scenario}")).passwd {
        writeln!(text, "{0}:x:{1}:{1}::/home/{0}:/bin/sh", user.name, user.uid).unwrap();
    }
    text
}
