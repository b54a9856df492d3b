//! Real cards.

use serde::Deserialize;

/// A real card whose properties are the defaults of a GPU's other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the cards'")]
pub enum Profile {
    #[serde(rename = "A100-40GB")]
    A100Of40,
    #[serde(rename = "A100-80GB")]
    A100Of80,
    A30,
    H100,
    H200,
    B200,
    L40S,
    T4,
}

/// What a card is. Its memory is the nominal figure, and what the driver reserves of it is plausible, not measured.
#[derive(Clone, Copy)]
pub(super) struct Card {
    pub(super) model: &'static str,
    pub(super) memory_gib: u64,
    pub(super) reserved_mib: u64,
    /// 0 without MIG.
    pub(super) slices: u32,
    pub(super) gpm: bool,
    pub(super) idle_watts: u64,
    /// The limit that it comes with.
    pub(super) busy_watts: u64,
}

/// Hopper and later; earlier cards have no GPM.
const GPM: bool = true;

const fn card(
    model: &'static str,
    (memory_gib, reserved_mib): (u64, u64),
    slices: u32,
    gpm: bool,
    (idle_watts, busy_watts): (u64, u64),
) -> Card {
    Card { model, memory_gib, reserved_mib, slices, gpm, idle_watts, busy_watts }
}

impl Profile {
    pub(super) const fn card(self) -> Card {
        match self {
            Self::A100Of40 => card("NVIDIA A100-SXM4-40GB", (40, 600), 7, !GPM, (50, 400)),
            Self::A100Of80 => card("NVIDIA A100-SXM4-80GB", (80, 600), 7, !GPM, (60, 400)),
            Self::A30 => card("NVIDIA A30", (24, 512), 4, !GPM, (30, 165)),
            Self::H100 => card("NVIDIA H100 80GB HBM3", (80, 600), 7, GPM, (70, 700)),
            Self::H200 => card("NVIDIA H200", (141, 700), 7, GPM, (75, 700)),
            Self::B200 => card("NVIDIA B200", (180, 900), 7, GPM, (140, 1000)),
            Self::L40S => card("NVIDIA L40S", (48, 450), 0, !GPM, (35, 350)),
            Self::T4 => card("Tesla T4", (16, 400), 0, !GPM, (10, 70)),
        }
    }
}
