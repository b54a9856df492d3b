//! Choosing devices: indices, UUIDs, MIG labels and PCI bus ids.

use crate::ids::GpuLabel;
use crate::sample::{DeviceFacts, Driver, GpuRef};
use std::fmt;
use std::str::FromStr;

/// One entry of `gpu.devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A GPU by NVML index, with all its instances.
    Index(u32),
    /// A MIG instance by its label, `0_1_0`.
    Instance(GpuLabel),
    /// A GPU (with all its instances) or MIG instance by UUID.
    Uuid(String),
    /// A GPU by PCI bus id, with all its instances; lower case, eight digits of domain.
    PciBusId(String),
}

/// Text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no device: allowed are an index (0), a UUID (GPU-… or MIG-…), a MIG label \
     (<gpu>_<gpu instance>_<compute instance>, 0_1_0) and a PCI bus id (0000:1b:00.0)"
)]
pub struct BadSelector(String);

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        let text = text.trim();
        let bad = || BadSelector(text.chars().take(80).collect());
        if text.starts_with("GPU-") || text.starts_with("MIG-") {
            return Ok(Self::Uuid(text.to_owned()));
        }
        if text.contains(':') {
            return normal_pci(text).map(Self::PciBusId).ok_or_else(bad);
        }
        let numbers: Vec<u32> = text.split('_').map(decimal).collect::<Option<_>>().ok_or_else(bad)?;
        match numbers[..] {
            [index] => Ok(Self::Index(index)),
            [gpu, gi, ci] => Ok(Self::Instance(GpuLabel { gpu, instance: Some((gi, ci)) })),
            _ => Err(bad()),
        }
    }
}

fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `domain:bus:device.function` in lower case with eight digits of domain; the domain may be left out.
fn normal_pci(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let (path, function) = lower.rsplit_once('.').unwrap_or((&lower, "0"));
    let parts: Vec<&str> = path.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [bus, device] => ("0", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let hex = |part: &str, digits: usize| {
        (part.len() <= digits).then(|| u32::from_str_radix(part, 16).ok()).flatten()
    };
    Some(format!(
        "{:08x}:{:02x}:{:02x}.{:x}",
        hex(domain, 8)?,
        hex(bus, 2)?,
        hex(device, 2)?,
        hex(function, 1)?
    ))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Instance(label) => write!(f, "{label}"),
            Self::Uuid(uuid) => f.write_str(uuid),
            Self::PciBusId(pci) => f.write_str(pci),
        }
    }
}

impl Selector {
    fn takes_gpu(&self, index: u32, uuid: Option<&str>, pci: Option<&str>) -> bool {
        match self {
            Self::Index(wanted) => *wanted == index,
            Self::Instance(_) => false,
            Self::Uuid(wanted) => uuid.is_some_and(|uuid| wanted.eq_ignore_ascii_case(uuid)),
            Self::PciBusId(wanted) => pci.and_then(normal_pci).is_some_and(|pci| pci == *wanted),
        }
    }

    fn takes_ref(&self, gpu: &GpuRef) -> bool {
        self.takes_gpu(gpu.index, gpu.uuid.as_deref(), gpu.pci_bus_id.as_deref())
    }

    fn takes(&self, device: &DeviceFacts) -> bool {
        let gpu_uuid = device.parent_uuid.as_deref().unwrap_or(&device.uuid);
        match self {
            Self::Instance(label) => *label == device.label,
            Self::Uuid(wanted) if wanted.eq_ignore_ascii_case(&device.uuid) => true,
            _ => self.takes_gpu(device.label.gpu, Some(gpu_uuid), device.pci_bus_id.as_deref()),
        }
    }
}

/// Which devices to measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All that are found.
    #[default]
    All,
    /// Those that any selector takes.
    These(Vec<Selector>),
}

impl Selection {
    /// `gpu.devices` wins over `gpu.count`; neither means all.
    pub fn new(devices: Vec<Selector>, count: Option<u32>) -> Self {
        match (devices.is_empty(), count) {
            (false, _) => Self::These(devices),
            (true, Some(count)) => Self::These((0..count).map(Selector::Index).collect()),
            (true, None) => Self::All,
        }
    }

    /// Whether the device is to be measured.
    pub fn takes(&self, device: &DeviceFacts) -> bool {
        match self {
            Self::All => true,
            Self::These(selectors) => selectors.iter().any(|s| s.takes(device)),
        }
    }

    /// Whether a GPU that cannot be read would have been measured. An instance's label counts by its GPU;
    /// an instance's UUID cannot be told and does not.
    pub fn takes_gpu(&self, gpu: &GpuRef) -> bool {
        match self {
            Self::All => true,
            Self::These(selectors) => selectors.iter().any(|s| {
                s.takes_ref(gpu) || matches!(s, Selector::Instance(label) if label.gpu == gpu.index)
            }),
        }
    }

    /// Selectors that take nothing of what the driver has.
    pub fn missing(&self, driver: &Driver) -> Vec<String> {
        let Self::These(selectors) = self else {
            return Vec::new();
        };
        selectors
            .iter()
            .filter(|s| !driver.devices.iter().any(|d| s.takes(&d.facts)))
            .filter(|s| !driver.lost.iter().chain(&driver.without_instances).any(|gpu| s.takes_ref(gpu)))
            .map(ToString::to_string)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(label: GpuLabel, uuid: &str, parent: Option<&str>) -> DeviceFacts {
        DeviceFacts {
            label,
            uuid: uuid.into(),
            parent_uuid: parent.map(Into::into),
            model: None,
            mig_profile: None,
            pci_bus_id: Some("00000000:1B:00.0".into()),
            minor_number: None,
            memory_total_bytes: None,
            compute_fraction: None,
        }
    }

    fn selection(items: &[&str]) -> Selection {
        Selection::new(items.iter().map(|i| i.parse().expect("a selector")).collect(), None)
    }

    #[test]
    fn every_spelling_takes_its_device() {
        let instance = facts(GpuLabel { gpu: 0, instance: Some((1, 0)) }, "MIG-x", Some("GPU-a"));
        let other = facts(GpuLabel { gpu: 0, instance: Some((2, 0)) }, "MIG-y", Some("GPU-a"));
        for item in ["0", "GPU-a", "gpu-A".to_uppercase().as_str(), "0000:1b:00.0", "1B:00.0"] {
            assert!(selection(&[item]).takes(&instance) && selection(&[item]).takes(&other), "{item}");
        }
        for item in ["0_1_0", "MIG-x"] {
            assert!(selection(&[item]).takes(&instance) && !selection(&[item]).takes(&other), "{item}");
        }
        assert!(!selection(&["1"]).takes(&instance));
        assert!(!selection(&["0000:1c:00.0"]).takes(&instance));
    }

    #[test]
    fn nonsense_is_refused() {
        for item in ["", "-1", "+1", "0_1", "0_1_2_3", "gpu0", "1b:zz.0", "4294967296", "a:b:c:d", "0 1"] {
            assert!(item.parse::<Selector>().is_err(), "{item}");
        }
    }

    #[test]
    fn devices_win_over_count_and_missing_ones_are_named() {
        let gpu = |n| facts(GpuLabel { gpu: n, instance: None }, &format!("GPU-{n}"), None);
        let device = |n| crate::sample::Device {
            facts: gpu(n).into(),
            memory_used_bytes: None,
            utilization: None,
            energy_millijoules: None,
            accounting: None,
            processes: None,
            mps: false,
            activity: crate::sample::Activity::Failed,
        };
        let driver = Driver {
            devices: vec![device(0), device(1)],
            lost: vec![GpuRef { index: 2, uuid: None, pci_bus_id: None }],
            ..Driver::default()
        };
        let both = Selection::new(vec![Selector::Index(1)], Some(4));
        assert!(both.takes(&gpu(1)) && !both.takes(&gpu(0)));
        assert_eq!(Selection::new(vec![], Some(4)).missing(&driver), ["3"]);
        assert_eq!(selection(&["GPU-9", "0"]).missing(&driver), ["GPU-9"]);
        assert!(Selection::All.missing(&driver).is_empty());
        assert!(selection(&["2_1_0"]).takes_gpu(&driver.lost[0]));
    }
}
