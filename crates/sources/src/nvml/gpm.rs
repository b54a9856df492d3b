//! Utilisation of MIG instances by GPM: counters of a GPU instance, read twice.

use super::api::{Api, GpmSample, Handle};
use super::code::CallError;
use gpu_session_core::sample::DeviceUtilization;
use std::collections::BTreeMap;

/// Two samples nearer than this give no figure (NVML asks for 100 ms).
const SHORTEST_US: i64 = 100_000;

/// Kept samples by physical GPU (index) and GPU instance.
#[derive(Default)]
pub(super) struct Gpm {
    kept: BTreeMap<(u32, u32), Kept>,
}

struct Kept {
    sample: GpmSample,
    time_us: i64,
    /// Memory for the next sample; the two change places.
    spare: Option<GpmSample>,
}

impl Gpm {
    /// Takes a sample and returns the utilisation since the one before, where there is one.
    ///
    /// GPM measures GPU instances: where two compute instances share one, the figure is of neither.
    pub(super) fn read(
        &mut self,
        api: &Api,
        gpu: (u32, Handle),
        gpu_instance: u32,
        now_us: i64,
    ) -> Result<Option<DeviceUtilization>, CallError> {
        let key = (gpu.0, gpu_instance);
        let Some(kept) = self.kept.get_mut(&key) else {
            let sample = api.gpm_alloc()?;
            if let Err(e) = api.gpm_read(gpu.1, gpu_instance, &sample) {
                let _ = api.gpm_free(&sample);
                return Err(e);
            }
            self.kept.insert(key, Kept { sample, time_us: now_us, spare: None });
            return Ok(None);
        };
        let measured_us = now_us - kept.time_us;
        if measured_us < SHORTEST_US {
            return Ok(None);
        }
        let after = match kept.spare.take() {
            Some(spare) => spare,
            None => api.gpm_alloc()?,
        };
        if let Err(e) = api.gpm_read(gpu.1, gpu_instance, &after) {
            kept.spare = Some(after);
            return Err(e);
        }
        let percent = api.gpm_graphics_utilization(&kept.sample, &after);
        kept.spare = Some(std::mem::replace(&mut kept.sample, after));
        kept.time_us = now_us;
        let percent = percent?;
        let sane = percent.is_finite() && (0.0..=100.0).contains(&percent);
        Ok(sane.then_some(DeviceUtilization {
            ratio: percent / 100.0,
            measured_us: Some(measured_us),
            attributable: true,
        }))
    }

    /// Frees the samples of a GPU whose instances are others now.
    pub(super) fn forget(&mut self, api: &Api, gpu: u32) {
        let of_others = self.kept.split_off(&(gpu + 1, 0));
        let own = self.kept.split_off(&(gpu, 0));
        self.kept.extend(of_others);
        free(api, own);
    }

    /// Frees all samples; the library must still be there.
    pub(super) fn free(&mut self, api: &Api) {
        free(api, std::mem::take(&mut self.kept));
    }
}

fn free(api: &Api, samples: BTreeMap<(u32, u32), Kept>) {
    for kept in samples.into_values() {
        // A driver that will not free them frees them at shutdown.
        let _ = api.gpm_free(&kept.sample);
        let _ = kept.spare.map(|spare| api.gpm_free(&spare));
    }
}
