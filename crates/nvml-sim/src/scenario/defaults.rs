//! Defaults that depend on an index, or on another key.

use super::{Gpu, Mig, Scenario, ScenarioError};
use crate::units::Bytes;

pub(super) fn fill(scenario: &mut Scenario) -> Result<(), ScenarioError> {
    for (index, gpu) in scenario.gpus.iter_mut().enumerate() {
        fill_gpu(gpu, index)?;
    }
    Ok(())
}

fn fill_gpu(gpu: &mut Gpu, index: usize) -> Result<(), ScenarioError> {
    if gpu.uuid.is_empty() {
        gpu.uuid = format!("GPU-5e550000-0000-4000-8000-{index:012x}");
    }
    if gpu.pci.is_empty() {
        gpu.pci = format!("{:08X}:{:02X}:00.0", index / 128, 0x10 + index % 128);
    }
    let Some(migs) = &mut gpu.mig else { return Ok(()) };
    for position in 0..migs.len() {
        fill_mig(&mut migs[position], index, position)?;
        if migs[position].index.is_none() {
            migs[position].index = Some(lowest_free_index(migs, position));
        }
    }
    Ok(())
}

fn fill_mig(mig: &mut Mig, gpu: usize, position: usize) -> Result<(), ScenarioError> {
    if mig.uuid.is_empty() {
        mig.uuid = format!("MIG-5e550000-{gpu:04x}-4000-8000-{position:012x}");
    }
    if mig.memory.0 > 0 && mig.slices > 0 {
        mig.compute_slices = if mig.compute_slices == 0 { mig.slices } else { mig.compute_slices };
        return Ok(());
    }
    let Some((compute, slices, memory)) = read_profile(&mig.profile) else {
        return Err(ScenarioError::Invalid(
            format!("gpus[{gpu}].mig[{position}].profile"),
            format!("`{}` does not say the size; give `memory` and `slices`", mig.profile),
        ));
    };
    if mig.memory.0 == 0 {
        mig.memory = memory;
    }
    if mig.compute_slices == 0 {
        mig.compute_slices = if mig.slices == 0 { compute } else { mig.slices };
    }
    if mig.slices == 0 {
        mig.slices = slices;
    }
    Ok(())
}

/// Compute slices, slices and memory of `3g.40gb`, `1c.3g.40gb` or `1g.10gb+me`.
fn read_profile(profile: &str) -> Option<(u32, u32, Bytes)> {
    let base = profile.split('+').next()?;
    let mut parts = base.split('.').rev();
    let memory: u64 = parts.next()?.strip_suffix("gb")?.parse().ok()?;
    let slices: u32 = parts.next()?.strip_suffix('g')?.parse().ok()?;
    let compute = match parts.next() {
        Some(part) => part.strip_suffix('c')?.parse().ok()?,
        None => slices,
    };
    parts.next().is_none().then_some((compute, slices, Bytes(memory << 30)))
}

/// The lowest index that no earlier MIG device has during this one's life.
fn lowest_free_index(migs: &[Mig], position: usize) -> u32 {
    let taken = |index| {
        migs[..position]
            .iter()
            .any(|other| other.index == Some(index) && super::validate::overlap(other, &migs[position]))
    };
    (0..=position as u32).find(|index| !taken(*index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles() {
        assert_eq!(read_profile("3g.40gb"), Some((3, 3, Bytes(40 << 30))));
        assert_eq!(read_profile("1c.3g.40gb"), Some((1, 3, Bytes(40 << 30))));
        assert_eq!(read_profile("1g.10gb+me"), Some((1, 1, Bytes(10 << 30))));
        for bad in ["", "3g", "40gb", "g.gb", "2c.1c.3g.40gb"] {
            assert_eq!(read_profile(bad), None, "{bad}");
        }
    }
}
