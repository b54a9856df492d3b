//! Initialisation, error texts, and questions about the system.
#![allow(unsafe_code, non_snake_case, reason = "the C ABI")]

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings::nvmlReturn_t;

use super::calls::Function;
use super::{export, session, shielded};
use crate::code::Code;

macro_rules! init {
    ($($(#[doc = $doc:literal])+ fn $name:ident($($flags:ident: $type:ty)?))+) => {$(
        $(#[doc = $doc])+
        ///
        /// # Safety
        /// None: it takes no pointers.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($flags: $type)?) -> nvmlReturn_t {
            static FUNCTION: Function = Function::new(stringify!($name));
            $(let _ = $flags;)?
            shielded(&FUNCTION, || session::init(FUNCTION.name()))
        }
    )+};
}

init! {
    /// Initialises the library.
    fn nvmlInit()
    /// Initialises the library.
    fn nvmlInit_v2()
    /// Initialises the library; the flags change nothing here.
    fn nvmlInitWithFlags(flags: c_uint)
}

/// Ends an initialisation.
///
/// # Safety
/// None: it takes no pointers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlShutdown() -> nvmlReturn_t {
    static FUNCTION: Function = Function::new("nvmlShutdown");
    shielded(&FUNCTION, session::shutdown)
}

/// The text of a code; it works without initialisation and never fails.
///
/// # Safety
/// None: it takes no pointers, and what it returns is static.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlErrorString(result: nvmlReturn_t) -> *const c_char {
    static FUNCTION: Function = Function::new("nvmlErrorString");
    FUNCTION.count();
    Code(result).text().as_ptr()
}

export! {
    /// Version of the driver.
    fn nvmlSystemGetDriverVersion(version: *mut c_char, length: c_uint) |call| {
        version.put_text(length, call.session.engine.driver_at(call.now()).version.as_bytes())
    }

    /// Version of NVML.
    fn nvmlSystemGetNVMLVersion(version: *mut c_char, length: c_uint) |call| {
        version.put_text(length, call.session.engine.nvml_version_at(call.now()).as_bytes())
    }

    /// Version of CUDA.
    fn nvmlSystemGetCudaDriverVersion(version: *mut c_int) |call| {
        version.put(call.session.engine.scenario().driver.cuda)
    }

    /// Version of CUDA.
    fn nvmlSystemGetCudaDriverVersion_v2(version: *mut c_int) |call| {
        version.put(call.session.engine.scenario().driver.cuda)
    }

    /// Name of a running process.
    fn nvmlSystemGetProcessName(pid: c_uint, name: *mut c_char, length: c_uint) |call| {
        let engine = &call.session.engine;
        let process = engine.process_at(pid, call.now()).ok_or(Code::NOT_FOUND)?;
        name.put_cropped(length, &engine.scenario().processes[process].first_name())
    }
}
