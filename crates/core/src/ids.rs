//! Identities: sessions, GPU labels.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What makes a process itself. A bare pid does not, for the kernel uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessKey {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// Start of the process in clock ticks since boot; `None` where /proc would not say.
    pub start_ticks: Option<u64>,
    /// The boot that it runs in, see [`boot`].
    pub boot: u64,
}

/// A boot as a number: a hash of `/proc/sys/kernel/random/boot_id`, of the empty text where that could not be
/// read.
pub fn boot(boot_id: &str) -> u64 {
    fnv1a([boot_id.as_bytes()])
}

/// The public name of a session, one process on one device: a hash (FNV-1a) of its identity.
pub fn session_id(device_uuid: &str, process: &ProcessKey) -> SessionId {
    let ticks = process.start_ticks.map(u64::to_le_bytes);
    SessionId(fnv1a([
        &process.boot.to_le_bytes()[..],
        &process.pid.to_le_bytes(),
        ticks.as_ref().map_or(&[], |t| &t[..]),
        device_uuid.as_bytes(),
    ]))
}

/// FNV-1a over parts, each ended by a byte that no UTF-8 text holds.
pub(crate) fn fnv1a<const N: usize>(parts: [&[u8]; N]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// 64-bit name of a session, shown as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The `gpu` label of a device: `"0"`, or `"<gpu>_<gpu instance>_<compute instance>"` under MIG.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GpuLabel {
    /// Index of the physical GPU.
    pub gpu: u32,
    /// GPU instance and compute instance, where the device is a MIG instance.
    pub instance: Option<(u32, u32)>,
}

impl fmt::Display for GpuLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance {
            None => write!(f, "{}", self.gpu),
            Some((gi, ci)) => write!(f, "{}_{gi}_{ci}", self.gpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32, start_ticks: Option<u64>, device: &str) -> String {
        session_id(device, &ProcessKey { pid, start_ticks, boot: boot("boot") }).to_string()
    }

    #[test]
    fn ids_tell_sessions_apart_and_stay_the_same_between_releases() {
        let ids =
            [id(1, Some(2), "GPU-a"), id(1, Some(3), "GPU-a"), id(1, None, "GPU-a"), id(1, Some(2), "GPU-b")];
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len());
        // Dashboards and ledgers hold it: it may not change.
        assert_eq!(ids[0], "8d7d5a53b0c69a2b");
    }

    #[test]
    fn labels_follow_nvidia_smi() {
        assert_eq!(GpuLabel { gpu: 0, instance: None }.to_string(), "0");
        assert_eq!(GpuLabel { gpu: 0, instance: Some((1, 0)) }.to_string(), "0_1_0");
    }
}
