//! Older and newer drivers.

use nvml_sim::branch::{Branch, library_of};
use nvml_wrapper_sys::bindings::*;

use crate::support::{Driver, codes, path};

/// Those whose presence differs, and some that are everywhere.
const FUNCTIONS: [&str; 20] = [
    "nvmlInit_v2",
    "nvmlInit",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetAccountingStats",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
    "nvmlDeviceGetMPSComputeRunningProcesses",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetGraphicsRunningProcesses_v2",
    "nvmlDeviceGetMPSComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlGpmSampleGet",
    "nvmlGpmMigSampleGet",
    "nvmlDeviceGetProcessesUtilizationInfo",
    "nvmlDeviceGetAccountingStats_v2",
];

#[test]
fn a_branch_has_its_functions_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    for branch in Branch::ALL {
        let library = library_of(branch, &path(), &folder.path().join(format!("{branch:?}"))).unwrap();
        let library = Driver::load(&library).__library;
        // SAFETY: only the address is looked at.
        let found = |name: &str| unsafe { library.get::<*const ()>(name.as_bytes()) }.is_ok();
        let count = match branch {
            Branch::R450 => 9,
            Branch::R515 => 16,
            Branch::R535 | Branch::R535Early => 18,
            Branch::R550 | Branch::R580 => 19,
            Branch::R590 => 20,
        };
        for (index, name) in FUNCTIONS.iter().enumerate() {
            assert_eq!(found(name), index < count, "{branch:?}: {name}");
        }
        assert_eq!(branch.lacks().filter(|name| found(name)).count(), 0, "{branch:?}");
    }
}

#[test]
fn each_branch_says_who_it_is() {
    for (branch, version, nvml, cuda) in [
        ("R450", "450.248.02", "11.450.248.02", 11000),
        ("R515", "515.105.01", "11.515.105.01", 11070),
        ("R535-early", "535.54.03", "12.535.54.03", 12020),
        ("R580", "580.82.07", "13.580.82.07", 13000),
    ] {
        let driver = Driver::start(&format!("version: 1\ndriver: {{ branch: {branch} }}\ngpus: []\n"));
        let library = &driver.nvml;
        let mut found = 0;
        // SAFETY: valid pointers, and a buffer as long as it is said to be.
        unsafe {
            let text = Driver::text(|text, length| library.nvmlSystemGetDriverVersion(text, length));
            assert_eq!(text, version);
            let text = Driver::text(|text, length| library.nvmlSystemGetNVMLVersion(text, length));
            assert_eq!(text, nvml);
            assert_eq!(library.nvmlSystemGetCudaDriverVersion(&raw mut found), codes::SUCCESS);
        }
        assert_eq!(found, cuda);
    }
}

#[test]
fn a_copy_is_a_whole_driver() {
    let driver = Driver::start("version: 1\ngpus: [{ profile: T4 }]\n");
    let old = Driver::load(&library_of(Branch::R450, &path(), &driver.path("old")).unwrap());
    assert!(old.nvmlDeviceGetComputeRunningProcesses_v3.is_err());
    let mut count = 0;
    // SAFETY: a valid pointer.
    unsafe {
        assert_eq!(old.nvmlDeviceGetCount_v2(&raw mut count), codes::UNINITIALIZED, "it has its own state");
        assert_eq!(old.nvmlInit_v2(), codes::SUCCESS);
        assert_eq!(old.nvmlDeviceGetCount_v2(&raw mut count), codes::SUCCESS);
        assert_eq!(old.nvmlShutdown(), codes::SUCCESS);
    }
    assert_eq!(count, 1);
}

#[test]
fn early_r535_writes_longer_records() {
    let driver = Driver::start(
        "version: 1\ndriver: { branch: R535-early }\ngpus: [{ profile: H100 }]\nprocesses:\n  \
         - { pid: 50, count: 4, name: a, devices: [{ gpu: 0, kind: [compute, graphics, mps], memory: 1GiB }] }\n",
    );
    let (nvml, gpu) = (&driver.nvml, driver.gpu(0));
    let none = [nvmlProcessInfo_v2_t { pid: 1, usedGpuMemory: 2, gpuInstanceId: 3, computeInstanceId: 4 }; 8];
    let words = |record: nvmlProcessInfo_v2_t| {
        [
            u64::from(record.pid),
            record.usedGpuMemory,
            record.gpuInstanceId.into(),
            record.computeInstanceId.into(),
        ]
    };
    let (id, memory, untouched) = (u64::from(u32::MAX), 1 << 30, [1, 2, 3, 4]);
    for list in [
        NvmlLib::nvmlDeviceGetComputeRunningProcesses_v3,
        NvmlLib::nvmlDeviceGetGraphicsRunningProcesses_v2,
        NvmlLib::nvmlDeviceGetMPSComputeRunningProcesses_v3,
    ] {
        // Room for eight: all are written, as 128 bytes, which a caller reads 24 at a time.
        let (mut records, mut count) = (none, 8);
        // SAFETY: valid pointers, and room for as many as is said.
        let result = unsafe { list(nvml, gpu, &raw mut count, records.as_mut_ptr()) };
        assert_eq!((result, count), (codes::SUCCESS, 4));
        assert_eq!(words(records[0]), [50, memory, id, id]);
        assert_eq!(words(records[1]), [0, 51, memory & 0xffff_ffff, 0]);
        assert_eq!(words(records[2])[..2], [id, 0]);
        assert_eq!(words(records[4]), [53, memory, id, id], "every fourth record begins where it should");
        assert_eq!(words(records[6]), untouched);
        // Room for four of 24 bytes, which is three of 32: the last is lost, and nothing is written beyond.
        let (mut records, mut count) = (none, 4);
        // SAFETY: as above.
        let result = unsafe { list(nvml, gpu, &raw mut count, records.as_mut_ptr()) };
        assert_eq!((result, count), (codes::SUCCESS, 4));
        assert_eq!(words(records[4]), untouched);
        let (mut records, mut count) = (none, 3);
        // SAFETY: as above.
        let result = unsafe { list(nvml, gpu, &raw mut count, records.as_mut_ptr()) };
        assert_eq!((result, count), (codes::INSUFFICIENT_SIZE, 4));
        assert_eq!(words(records[0]), untouched);
    }
    // The layout without a version was never mistaken.
    let (mut short, mut count) = ([nvmlProcessInfo_v1_t { pid: 0, usedGpuMemory: 0 }; 4], 4);
    // SAFETY: as above.
    let result =
        unsafe { nvml.nvmlDeviceGetComputeRunningProcesses(gpu, &raw mut count, short.as_mut_ptr()) };
    assert_eq!((result, short.map(|record| record.pid)), (codes::SUCCESS, [50, 51, 52, 53]));
}

#[test]
fn cards_are_what_their_profile_says() {
    let profiles = ["A100-40GB", "A100-80GB", "A30", "H100", "H200", "B200", "L40S", "T4"];
    let gpus = profiles.map(|profile| format!("  - {{ profile: {profile} }}\n")).concat();
    let own = "  - { profile: T4, model: Own, memory: 1GiB, gpm: true, mig_capable: true, power: { report: none } }\n";
    let driver = Driver::start(&format!("version: 1\ngpus:\n{gpus}{own}"));
    let nvml = &driver.nvml;
    let read = |index| {
        let gpu = driver.gpu(index);
        let (mut current, mut pending, mut power) = (0, 0, 0);
        let mut memory = nvmlMemory_t { total: 0, free: 0, used: 0 };
        let mut gpm = nvmlGpmSupport_t { version: NVML_GPM_SUPPORT_VERSION, isSupportedDevice: 0 };
        // SAFETY: valid pointers, and a buffer as long as it is said to be.
        unsafe {
            let name = Driver::text(|text, length| nvml.nvmlDeviceGetName(gpu, text, length));
            assert_eq!(nvml.nvmlDeviceGetMemoryInfo(gpu, &raw mut memory), codes::SUCCESS);
            assert_eq!(nvml.nvmlGpmQueryDeviceSupport(gpu, &raw mut gpm), codes::SUCCESS);
            let mig = nvml.nvmlDeviceGetMigMode(gpu, &raw mut current, &raw mut pending) == codes::SUCCESS;
            let watts = match nvml.nvmlDeviceGetPowerUsage(gpu, &raw mut power) {
                codes::SUCCESS => power / 1000,
                _ => 0,
            };
            (name, memory.total >> 30, mig, gpm.isSupportedDevice == 1, watts)
        }
    };
    let expected = [
        ("NVIDIA A100-SXM4-40GB", 40, true, false, 50),
        ("NVIDIA A100-SXM4-80GB", 80, true, false, 60),
        ("NVIDIA A30", 24, true, false, 30),
        ("NVIDIA H100 80GB HBM3", 80, true, true, 70),
        ("NVIDIA H200", 141, true, true, 75),
        ("NVIDIA B200", 180, true, true, 140),
        ("NVIDIA L40S", 48, false, false, 35),
        ("Tesla T4", 16, false, false, 10),
        ("Own", 1, true, true, 0),
    ];
    for (index, (name, memory, mig, gpm, watts)) in (0..).zip(expected) {
        assert_eq!(read(index), (name.to_owned(), memory, mig, gpm, watts));
    }
}
