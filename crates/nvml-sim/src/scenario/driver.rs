//! What the driver says about itself, and its life.

use serde::Deserialize;

use crate::branch::Branch;
use crate::units::Micros;

/// Versions.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "RawDriver")]
pub struct Driver {
    /// The branch that it behaves like; the newest without.
    pub branch: Option<Branch>,
    /// Version of the driver.
    pub version: String,
    /// Version of NVML.
    pub nvml: String,
    /// Version of CUDA, 1000 * major + 10 * minor.
    pub cuda: i32,
}

impl Default for Driver {
    fn default() -> Self {
        RawDriver::default().into()
    }
}

/// What the driver says about itself. What is left out depends on the branch.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Driver"))]
#[serde(deny_unknown_fields, default)]
struct RawDriver {
    /// The branch that it behaves like.
    branch: Option<Branch>,
    /// Version of the driver.
    version: Option<String>,
    /// Version of NVML.
    nvml: Option<String>,
    /// Version of CUDA, 1000 * major + 10 * minor.
    cuda: Option<i32>,
}

impl From<RawDriver> for Driver {
    fn from(raw: RawDriver) -> Self {
        let RawDriver { branch, version, nvml, cuda } = raw;
        let (usual, usual_cuda) = branch.unwrap_or(Branch::R550).defaults();
        // Without a branch the version of NVML does not follow the others.
        let of = branch.and(version.as_deref()).unwrap_or(usual);
        let major = branch.and(cuda).unwrap_or(usual_cuda) / 1000;
        let nvml = nvml.unwrap_or_else(|| format!("{major}.{of}"));
        let cuda = cuda.unwrap_or(usual_cuda);
        Self { branch, version: version.unwrap_or_else(|| usual.to_owned()), nvml, cuda }
    }
}

#[cfg(feature = "schema")]
super::schema_as_written!(Driver: RawDriver);

/// A change in the driver's life: exactly one of `unloaded` and `upgrade`.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DriverEvent {
    /// When.
    pub at: Micros,
    /// Whether it is unloaded from then on, or loaded again.
    #[serde(default)]
    pub unloaded: Option<bool>,
    /// The version that is loaded, where it is not the one before.
    #[serde(default)]
    pub version: Option<String>,
    /// The version that takes the place of the one before, under the clients that are running.
    #[serde(default)]
    pub upgrade: Option<String>,
}

impl DriverEvent {
    /// The version of the driver from then on, where it changes.
    pub fn new_version(&self) -> Option<&str> {
        self.upgrade.as_deref().or(self.version.as_deref())
    }

    /// Whether the driver starts from nothing.
    pub fn is_load(&self) -> bool {
        self.upgrade.is_some() || self.unloaded == Some(false)
    }
}
