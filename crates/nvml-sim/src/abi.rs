//! NVML's C functions, answered from a scenario.
//!
//! Raw pointers are used in the `ffi` module only: the `export!` macro wraps a function's arguments at the border, on
//! the caller's promise that each is NULL or valid for what nvml.h says is read or written.

pub mod absent;
pub mod accounting;
mod calls;
pub mod device;
mod ffi;
pub mod gpm;
pub mod mig;
pub mod power;
pub mod processes;
mod session;
mod switches;
pub mod system;
pub mod utilization;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use nvml_wrapper_sys::bindings::{nvmlDevice_st, nvmlReturn_t};

use crate::code::Code;
use crate::scenario::{Gpu, Mig};
use crate::units::Micros;
use calls::Function;
use ffi::Out;
use session::Session;

/// What a function answers.
type Answer = Result<(), Code>;

/// One call of an exported function, of an initialised library, past the faults that concern no single GPU.
struct Call {
    session: Arc<Session>,
    function: &'static str,
}

/// What a handle stands for.
#[derive(Clone, Copy)]
struct Target {
    gpu: usize,
    /// Position in the GPU's list.
    mig: Option<usize>,
}

impl Call {
    /// Microseconds since the anchor.
    fn now(&self) -> i64 {
        self.session.now()
    }

    /// What a handle stands for, if it is of this initialisation and exists; GPU faults strike here.
    fn target(&self, device: Out<nvmlDevice_st>) -> Result<Target, Code> {
        let target = self.session.decode(device.address()).ok_or(Code::INVALID_ARGUMENT)?;
        self.reach(target.gpu)?;
        match self.mig(target) {
            Some(mig) if !self.exists(mig) => Err(Code::INVALID_ARGUMENT),
            _ => Ok(target),
        }
    }

    /// A handle that must be a GPU's own.
    fn parent(&self, device: Out<nvmlDevice_st>) -> Result<Target, Code> {
        let target = self.target(device)?;
        if target.mig.is_some() { Err(Code::NOT_SUPPORTED) } else { Ok(target) }
    }

    /// A handle that must be a MIG device's.
    fn instance(&self, device: Out<nvmlDevice_st>) -> Result<(Target, &Mig), Code> {
        let target = self.target(device)?;
        self.mig(target).map(|mig| (target, mig)).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Applies the faults of a GPU.
    fn reach(&self, gpu: usize) -> Answer {
        self.session.strike(self.function, Some(gpu))
    }

    fn gpus(&self) -> &[Gpu] {
        &self.session.engine.scenario().gpus
    }

    fn gpu(&self, target: Target) -> &Gpu {
        &self.gpus()[target.gpu]
    }

    fn mig(&self, target: Target) -> Option<&Mig> {
        self.gpu(target).mig.as_deref()?.get(target.mig?)
    }

    /// Reads the clock only for a MIG device that comes or goes.
    fn exists(&self, mig: &Mig) -> bool {
        (mig.from.is_none() && mig.until.is_none()) || mig.exists_at(Micros(self.now()))
    }
}

/// Runs the body of an exported function that needs an initialised library.
fn answer(function: &'static Function, body: impl FnOnce(&Call) -> Answer) -> nvmlReturn_t {
    shielded(function, || {
        let session = session::current().ok_or(Code::UNINITIALIZED)?;
        session.attached()?;
        session.strike(function.name(), None)?;
        body(&Call { session, function: function.name() })
    })
}

/// Counts the call and keeps a panic from crossing into C.
fn shielded(function: &'static Function, body: impl FnOnce() -> Answer) -> nvmlReturn_t {
    function.count();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => Code::SUCCESS.0,
        Ok(Err(code)) => code.0,
        Err(_) => Code::UNKNOWN.0,
    }
}

/// Defines exported functions. Their bodies get every pointer wrapped, and the `Call`.
macro_rules! export {
    ($($(#[doc = $doc:literal])+ fn $name:ident($($arg:ident: $type:ty),*) |$call:pat_param| $body:expr)+) => {$(
        $(#[doc = $doc])+
        ///
        /// # Safety
        /// Each pointer must be NULL, or valid for what nvml.h says is read or written.
        #[unsafe(no_mangle)]
        #[allow(unsafe_code, non_snake_case, reason = "the C ABI")]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> nvml_wrapper_sys::bindings::nvmlReturn_t {
            static FUNCTION: $crate::abi::calls::Function = $crate::abi::calls::Function::new(stringify!($name));
            // SAFETY: the caller keeps the promise above.
            $(let $arg = unsafe { $crate::abi::ffi::Argument::wrap($arg) };)*
            $crate::abi::answer(&FUNCTION, |$call| $body)
        }
    )+};
}
use export;
