//! Utilisation of processes.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_st, nvmlDevice_t, nvmlProcessUtilizationInfo_v1_t, nvmlProcessUtilizationSample_t,
    nvmlProcessesUtilizationInfo_t,
};

use super::ffi::{Out, struct_version};
use super::{Call, export};
use crate::code::Code;
use crate::engine::Sample;

impl Call {
    /// The entries since a time stamp, and how many they are.
    fn samples(&self, device: Out<nvmlDevice_st>, last_seen: u64) -> Result<(Vec<Sample>, u32), Code> {
        let target = self.target(device)?;
        let gpu = self.gpu(target);
        if gpu.mig.is_some() || !gpu.process_utilization {
            return Err(Code::NOT_SUPPORTED);
        }
        let engine = &self.session.engine;
        let (now, keep) = (self.now(), engine.scenario().utilization.keep.0);
        let set = engine.scenario().clock_steps.iter().any(|step| (now - keep..=now).contains(&step.at.0));
        let samples = if set {
            // A stamp can be of more than one moment: what is asked for goes by stamps.
            let all = engine.samples(target.gpu, None, now);
            all.into_iter().filter(|sample| self.session.stamp(sample.at) > last_seen).collect()
        } else {
            engine.samples(target.gpu, self.session.moment(last_seen), now)
        };
        let needed = samples.iter().map(|sample| sample.pids.len() as u32).sum();
        Ok((samples, needed))
    }

    /// One entry per pid, with its time stamp.
    fn expand<'a>(&self, samples: &'a [Sample]) -> impl Iterator<Item = (u32, u64, [u32; 4])> + use<'a, '_> {
        samples.iter().flat_map(|sample| {
            let stamp = self.session.stamp(sample.at);
            sample.pids.clone().map(move |pid| (pid, stamp, sample.percent))
        })
    }
}

export! {
    /// Utilisation of processes.
    fn nvmlDeviceGetProcessUtilization(
        device: nvmlDevice_t,
        utilization: *mut nvmlProcessUtilizationSample_t,
        count: *mut c_uint,
        last_seen: c_ulonglong
    ) |call| {
        count.required()?;
        let (samples, needed) = call.samples(device, last_seen)?;
        let room = if utilization.is_null() { 0 } else { count.get()? };
        count.put(needed)?;
        if needed == 0 {
            return Err(Code::NOT_FOUND);
        }
        if room < needed {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        utilization.put_all(call.expand(&samples).map(|(pid, stamp, [sm, mem, enc, dec])| {
            nvmlProcessUtilizationSample_t {
                pid, timeStamp: stamp, smUtil: sm, memUtil: mem, encUtil: enc, decUtil: dec,
            }
        }))
    }

    /// Utilisation of processes, with a versioned layout.
    fn nvmlDeviceGetProcessesUtilizationInfo(
        device: nvmlDevice_t,
        info: *mut nvmlProcessesUtilizationInfo_t
    ) |call| {
        let mut header = info.get()?;
        if header.version != struct_version::<nvmlProcessesUtilizationInfo_t>(1) {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let (samples, needed) = call.samples(device, header.lastSeenTimeStamp)?;
        let array = super::ffi::inner(info, header.procUtilArray);
        let room = if array.is_null() { 0 } else { header.processSamplesCount };
        header.processSamplesCount = needed;
        info.put(header)?;
        if needed == 0 {
            return Err(Code::NOT_FOUND);
        }
        if room < needed {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        array.put_all(call.expand(&samples).map(|(pid, stamp, [sm, mem, enc, dec])| {
            nvmlProcessUtilizationInfo_v1_t {
                timeStamp: stamp, pid, smUtil: sm, memUtil: mem, encUtil: enc, decUtil: dec,
                jpgUtil: 0, ofaUtil: 0,
            }
        }))
    }
}
