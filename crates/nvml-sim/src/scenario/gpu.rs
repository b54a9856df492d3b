//! A GPU: what is written, and what its profile adds.

use serde::Deserialize;

use super::{Mig, Profile};
use crate::units::{Bytes, Milliwatts};

/// A GPU.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "RawGpu")]
pub struct Gpu {
    /// Product name.
    pub model: String,
    /// UUID; derived from the index when left out.
    pub uuid: String,
    /// PCI bus id; derived from the index when left out.
    pub pci: String,
    /// Total memory.
    pub memory: Bytes,
    /// Memory that the driver keeps for itself.
    pub reserved: Bytes,
    /// Whether it supports GPM.
    pub gpm: bool,
    /// Whether it can be in MIG mode.
    pub mig_capable: bool,
    /// The most MIG devices it can have.
    pub slices: u32,
    /// MIG devices; where present, MIG mode is on.
    pub mig: Option<Vec<Mig>>,
    /// Whether the utilisation of its processes can be read.
    pub process_utilization: bool,
    /// Power drawn, and which of its sensors there are.
    pub power: Power,
    /// Accounting of processes.
    pub accounting: Accounting,
}

/// Power drawn: linear in the load between idle and busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Power {
    /// With no load.
    pub idle: Milliwatts,
    /// With all of it loaded.
    pub busy: Milliwatts,
    /// What can be read of it.
    pub report: Report,
}

/// What can be read of a GPU's power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// The power and the counter of energy.
    Energy,
    /// The power only.
    Power,
    /// Nothing.
    #[default]
    None,
}

/// Accounting of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Accounting {
    /// Whether the GPU has it.
    pub supported: bool,
    /// Whether somebody had switched it on before the scenario begins.
    pub enabled: bool,
    /// How many processes it remembers.
    pub buffer: u32,
}

impl Default for Accounting {
    fn default() -> Self {
        Self { supported: true, enabled: false, buffer: 4000 }
    }
}

/// A GPU. What is left out comes from its profile, where it has one.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Gpu"))]
#[serde(deny_unknown_fields)]
struct RawGpu {
    /// A real card whose properties are the defaults of the other keys.
    #[serde(default)]
    profile: Option<Profile>,
    /// Product name; required without a profile.
    #[serde(default)]
    model: Option<String>,
    /// UUID; derived from the index when left out.
    #[serde(default)]
    uuid: String,
    /// PCI bus id; derived from the index when left out.
    #[serde(default)]
    pci: String,
    /// Total memory; required without a profile.
    #[serde(default)]
    memory: Option<Bytes>,
    /// Memory that the driver keeps for itself.
    #[serde(default)]
    reserved: Option<Bytes>,
    /// Whether it supports GPM.
    #[serde(default)]
    gpm: Option<bool>,
    /// Whether it can be in MIG mode; true without a profile.
    #[serde(default)]
    mig_capable: Option<bool>,
    /// The most MIG devices it can have; 7 without a profile.
    #[serde(default)]
    slices: Option<u32>,
    /// MIG devices; where present, MIG mode is on.
    #[serde(default)]
    mig: Option<Vec<Mig>>,
    /// Whether the utilisation of its processes can be read; true when left out.
    #[serde(default)]
    process_utilization: Option<bool>,
    /// Power drawn, and which of its sensors there are.
    #[serde(default)]
    power: RawPower,
    /// Accounting of processes.
    #[serde(default)]
    accounting: Accounting,
}

/// Power drawn: linear in the load between idle and busy.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Power"))]
#[serde(deny_unknown_fields, default)]
struct RawPower {
    /// With no load.
    idle: Option<Milliwatts>,
    /// With all of it loaded.
    busy: Option<Milliwatts>,
    /// What can be read of it.
    report: Option<Report>,
}

impl From<RawGpu> for Gpu {
    fn from(raw: RawGpu) -> Self {
        let card = raw.profile.map(Profile::card);
        let watts = |given: Option<Milliwatts>, usual: Option<u64>| {
            given.unwrap_or(Milliwatts(usual.map_or(0, |watts| watts * 1000)))
        };
        Self {
            model: raw.model.or(card.map(|card| card.model.to_owned())).unwrap_or_default(),
            uuid: raw.uuid,
            pci: raw.pci,
            memory: raw.memory.or(card.map(|card| Bytes(card.memory_gib << 30))).unwrap_or_default(),
            reserved: raw.reserved.or(card.map(|card| Bytes(card.reserved_mib << 20))).unwrap_or_default(),
            gpm: raw.gpm.or(card.map(|card| card.gpm)).unwrap_or(false),
            mig_capable: raw.mig_capable.or(card.map(|card| card.slices > 0)).unwrap_or(true),
            // A card without MIG has no use for the number, and any is as good.
            slices: raw.slices.or(card.map(|card| card.slices.max(1))).unwrap_or(7),
            mig: raw.mig,
            process_utilization: raw.process_utilization.unwrap_or(true),
            power: Power {
                idle: watts(raw.power.idle, card.map(|card| card.idle_watts)),
                busy: watts(raw.power.busy, card.map(|card| card.busy_watts)),
                report: raw.power.report.or(card.map(|_| Report::Energy)).unwrap_or_default(),
            },
            accounting: raw.accounting,
        }
    }
}

#[cfg(feature = "schema")]
super::schema_as_written!(Gpu: RawGpu);
