//! GPM: utilisation of a GPU or GPU instance between two samples.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{CStr, c_uint};
use std::mem::offset_of;
use std::ptr::{null_mut, without_provenance_mut};

use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, NVML_GPM_SUPPORT_VERSION, nvmlDevice_t, nvmlGpmMetric_t,
    nvmlGpmMetric_t__bindgen_ty_1, nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlGpmSupport_t,
};

use super::ffi::Out;
use super::{Answer, Call, Target, export};
use crate::code::Code;
use crate::units::Micros;

/// `NVML_GPM_METRIC_MAX` of the newest header.
const MOST_METRICS: u32 = 477;

/// What a sample holds. The driver keeps counters; the moment is as good.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    gpu: usize,
    gpu_instance: Option<u32>,
    /// Position of the instance in the GPU's list: one made anew starts anew.
    incarnation: Option<usize>,
    at: i64,
}

impl Call {
    fn sample(&self, target: Target, gpu_instance: Option<u32>, sample: usize) -> Answer {
        let gpu = self.gpu(target);
        if !gpu.gpm {
            return Err(Code::NOT_SUPPORTED);
        }
        let at = self.now();
        let migs = gpu.mig.as_deref().unwrap_or_default();
        let incarnation = gpu_instance
            .map(|id| {
                let found = migs.iter().position(|mig| mig.gpu_instance == id && mig.exists_at(Micros(at)));
                found.ok_or(Code::INVALID_ARGUMENT)
            })
            .transpose()?;
        self.session.record(sample, Reading { gpu: target.gpu, gpu_instance, incarnation, at })
    }

    /// Percentages of the time between two samples of the same device.
    fn between(&self, [first, second]: [usize; 2]) -> Result<f64, Code> {
        let (first, second) = (self.session.reading(first)?, self.session.reading(second)?);
        self.reach(first.gpu)?;
        let device = |reading: Reading| (reading.gpu, reading.gpu_instance, reading.incarnation);
        if device(first) != device(second) || first.at >= second.at {
            return Err(Code::INVALID_ARGUMENT);
        }
        Ok(self.session.engine.total_load(first.gpu, first.gpu_instance, first.at, second.at).sm)
    }
}

/// Fills one metric in place.
fn fill(place: Out<nvmlGpmMetric_t>, percent: f64) -> Answer {
    let asked = place.get()?;
    let names = match asked.metricId {
        1 => Some((c"graphics_util", c"Graphics Engine Utilization")),
        2 => Some((c"sm_util", c"SM Utilization")),
        _ => None,
    };
    let text = |text: Option<&'static CStr>| text.map_or(null_mut(), |text| text.as_ptr().cast_mut());
    let info = nvmlGpmMetric_t__bindgen_ty_1 {
        shortName: text(names.map(|names| names.0)),
        longName: text(names.map(|names| names.1)),
        unit: text(names.map(|_| c"%")),
    };
    let (result, value) = if names.is_some() { (Code::SUCCESS, percent) } else { (Code::NOT_SUPPORTED, 0.0) };
    place.put(nvmlGpmMetric_t { metricId: asked.metricId, nvmlReturn: result.0, value, metricInfo: info })
}

/// An `nvmlGpmMetricsGet_t` in parts.
struct Request {
    version: u32,
    number: u32,
    /// Handles of the samples.
    samples: [usize; 2],
    metrics: Out<nvmlGpmMetric_t>,
}

/// Reads the fields before the array: its length depends on the caller's header, so that the structure as a whole is
/// never touched.
fn request(get: Out<nvmlGpmMetricsGet_t>) -> Result<Request, Code> {
    type Get = nvmlGpmMetricsGet_t;
    get.required()?;
    // SAFETY: the offsets and types are those of the fields.
    unsafe {
        let version = get.field::<c_uint>(offset_of!(Get, version)).get()?;
        let number = get.field::<c_uint>(offset_of!(Get, numMetrics)).get()?;
        let first = get.field::<nvmlGpmSample_t>(offset_of!(Get, sample1)).get()?;
        let second = get.field::<nvmlGpmSample_t>(offset_of!(Get, sample2)).get()?;
        let metrics = get.field(offset_of!(Get, metrics));
        Ok(Request { version, number, samples: [first.addr(), second.addr()], metrics })
    }
}

export! {
    /// Whether a device supports GPM.
    fn nvmlGpmQueryDeviceSupport(device: nvmlDevice_t, support: *mut nvmlGpmSupport_t) |call| {
        let target = call.target(device)?;
        let version = support.get()?.version;
        if version != NVML_GPM_SUPPORT_VERSION {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        support.put(nvmlGpmSupport_t { version, isSupportedDevice: u32::from(call.gpu(target).gpm) })
    }

    /// Makes a sample to fill.
    fn nvmlGpmSampleAlloc(sample: *mut nvmlGpmSample_t) |call| {
        sample.required()?.put(without_provenance_mut(call.session.allocate()))
    }

    /// Frees a sample.
    fn nvmlGpmSampleFree(sample: nvmlGpmSample_t) |call| call.session.free(sample.address())

    /// Fills a sample of a GPU or MIG device.
    fn nvmlGpmSampleGet(device: nvmlDevice_t, sample: nvmlGpmSample_t) |call| {
        let target = call.target(device)?;
        call.sample(target, call.mig(target).map(|mig| mig.gpu_instance), sample.address())
    }

    /// Fills a sample of a GPU instance.
    fn nvmlGpmMigSampleGet(device: nvmlDevice_t, gpu_instance: c_uint, sample: nvmlGpmSample_t) |call| {
        call.sample(call.parent(device)?, Some(gpu_instance), sample.address())
    }

    /// Metrics between two samples.
    fn nvmlGpmMetricsGet(metrics_get: *mut nvmlGpmMetricsGet_t) |call| {
        let Request { version, number, samples, metrics } = request(metrics_get)?;
        if version != NVML_GPM_METRICS_GET_VERSION {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        if !(1..=MOST_METRICS).contains(&number) {
            return Err(Code::INVALID_ARGUMENT);
        }
        let percent = call.between(samples)?;
        (0..number as usize).try_for_each(|index| fill(metrics.entry(index), percent))
    }
}
