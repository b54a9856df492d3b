//! Loads the simulated driver with a scenario and a clock.
#![allow(clippy::unwrap_used)]

use std::ffi::{CStr, c_char, c_uint};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlProcessInfo_v2_t, nvmlReturn_t};

/// The anchor.
pub(crate) const EPOCH_US: i64 = 1_700_000_000_000_000;

/// Codes as the functions return them.
pub(crate) mod codes {
    use nvml_sim::code::Code;

    pub(crate) const SUCCESS: u32 = Code::SUCCESS.0;
    pub(crate) const UNINITIALIZED: u32 = Code::UNINITIALIZED.0;
    pub(crate) const INVALID_ARGUMENT: u32 = Code::INVALID_ARGUMENT.0;
    pub(crate) const NOT_SUPPORTED: u32 = Code::NOT_SUPPORTED.0;
    pub(crate) const NOT_FOUND: u32 = Code::NOT_FOUND.0;
    pub(crate) const INSUFFICIENT_SIZE: u32 = Code::INSUFFICIENT_SIZE.0;
    pub(crate) const DRIVER_NOT_LOADED: u32 = Code::DRIVER_NOT_LOADED.0;
    pub(crate) const LIB_RM_VERSION_MISMATCH: u32 = Code::LIB_RM_VERSION_MISMATCH.0;
    pub(crate) const GPU_IS_LOST: u32 = Code::GPU_IS_LOST.0;
    pub(crate) const ARGUMENT_VERSION_MISMATCH: u32 = Code::ARGUMENT_VERSION_MISMATCH.0;
}

/// The library and the environment are the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// An initialised driver at the anchor.
pub(crate) struct Driver {
    pub(crate) nvml: NvmlLib,
    folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Driver {
    pub(crate) fn start(scenario: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let files =
            [("SCENARIO", "scenario.yaml"), ("CLOCK", "clock"), ("CALLS", "calls"), ("STATE", "state")];
        for (variable, file) in files {
            // SAFETY: `ALONE` keeps every other reader and writer of the environment away.
            unsafe { std::env::set_var(format!("NVML_SIM_{variable}"), folder.path().join(file)) };
        }
        // SAFETY: as above.
        unsafe { std::env::set_var("NVML_SIM_EPOCH", (EPOCH_US / 1_000_000).to_string()) };
        let nvml = Self::library();
        let driver = Self { nvml, folder, _alone: alone };
        driver.write_scenario(scenario);
        driver.at(0);
        // SAFETY: it takes no pointers.
        assert_eq!(unsafe { driver.nvml.nvmlInit_v2() }, codes::SUCCESS);
        driver
    }

    /// The library once more, for another thread.
    pub(crate) fn library() -> NvmlLib {
        Self::load(&path())
    }

    /// A library at another place.
    pub(crate) fn load(path: &Path) -> NvmlLib {
        // SAFETY: our own library, which does nothing when loaded.
        unsafe { NvmlLib::new(path) }.unwrap()
    }

    /// Moves the clock, in microseconds since the anchor.
    pub(crate) fn at(&self, micros: i64) {
        std::fs::write(self.folder.path().join("clock"), (EPOCH_US + micros).to_string()).unwrap();
    }

    pub(crate) fn write_scenario(&self, text: &str) {
        std::fs::write(self.folder.path().join("scenario.yaml"), text).unwrap();
    }

    /// A file or folder of the test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn calls(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("calls")).unwrap()
    }

    pub(crate) fn nvml_shutdown(&self) -> nvmlReturn_t {
        // SAFETY: it takes no pointers.
        unsafe { self.nvml.nvmlShutdown() }
    }

    pub(crate) fn gpu(&self, index: c_uint) -> nvmlDevice_t {
        let mut handle = null_mut();
        // SAFETY: a valid pointer.
        let result = unsafe { self.nvml.nvmlDeviceGetHandleByIndex_v2(index, &raw mut handle) };
        assert_eq!(result, codes::SUCCESS);
        handle
    }

    pub(crate) fn records() -> [nvmlProcessInfo_v2_t; 8] {
        [nvmlProcessInfo_v2_t { pid: 0, usedGpuMemory: 0, gpuInstanceId: 0, computeInstanceId: 0 }; 8]
    }

    pub(crate) fn text(read: impl Fn(*mut c_char, c_uint) -> nvmlReturn_t) -> String {
        let mut buffer = [0; 96];
        assert_eq!(read(buffer.as_mut_ptr(), 96), codes::SUCCESS);
        // SAFETY: the driver has written a final NUL.
        unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str().unwrap().to_owned()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        while self.nvml_shutdown() == codes::SUCCESS {}
    }
}

/// The cdylib lies beside the folder of the test's own executable, or in it.
pub(crate) fn path() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let folders = executable.ancestors().skip(1).take(2);
    let mut candidates = folders.map(|folder| folder.join("libnvml_sim.so"));
    candidates.find(|path| path.exists()).unwrap()
}
