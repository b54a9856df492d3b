//! NVML's return codes.

use std::fmt;

/// A return code of NVML other than success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($value:literal $name:ident)*) => {
        #[allow(missing_docs, reason = "nvml.h names and describes them")]
        impl Code {
            $(pub const $name: Self = Self($value);)*

            /// The name in nvml.h without `NVML_ERROR_`.
            pub fn name(self) -> &'static str {
                match self.0 {
                    $($value => stringify!($name),)*
                    Self::IMPLAUSIBLE_VALUE => "IMPLAUSIBLE",
                    // A small fixed set: the name is a label value.
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

codes! {
    1 UNINITIALIZED 2 INVALID_ARGUMENT 3 NOT_SUPPORTED 4 NO_PERMISSION 5 ALREADY_INITIALIZED 6 NOT_FOUND
    7 INSUFFICIENT_SIZE 8 INSUFFICIENT_POWER 9 DRIVER_NOT_LOADED 10 TIMEOUT 11 IRQ_ISSUE 12 LIBRARY_NOT_FOUND
    13 FUNCTION_NOT_FOUND 14 CORRUPTED_INFOROM 15 GPU_IS_LOST 16 RESET_REQUIRED 17 OPERATING_SYSTEM
    18 LIB_RM_VERSION_MISMATCH 19 IN_USE 20 MEMORY 21 NO_DATA 22 VGPU_ECC_NOT_SUPPORTED
    23 INSUFFICIENT_RESOURCES 24 FREQ_NOT_SUPPORTED 25 ARGUMENT_VERSION_MISMATCH 26 DEPRECATED 27 NOT_READY
    28 GPU_NOT_FOUND 29 INVALID_STATE 999 UNKNOWN
}

impl Code {
    /// A code of ours that no driver returns.
    const IMPLAUSIBLE_VALUE: u32 = u32::MAX;
    /// The call succeeded, and its answer makes no sense, whichever way it is read.
    pub const IMPLAUSIBLE: Self = Self(Self::IMPLAUSIBLE_VALUE);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::IMPLAUSIBLE {
            return f.write_str(self.name());
        }
        write!(f, "{} (NVML return code {})", self.name(), self.0)
    }
}

/// A call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallError {
    /// The function of NVML.
    pub function: &'static str,
    /// What it returned.
    pub code: Code,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.function, self.code)?;
        let remedy = match self.code {
            Code::DRIVER_NOT_LOADED => "load the NVIDIA kernel driver (nvidia-smi must work on this node)",
            Code::GPU_IS_LOST => "the GPU fell off the bus: see dmesg for Xid 79, reset or reboot",
            Code::NO_PERMISSION => "run with more rights (MIG needs a privileged container)",
            Code::LIB_RM_VERSION_MISMATCH => "library and kernel module differ: reboot, or reload the module",
            Code::FUNCTION_NOT_FOUND => "this driver is too old to have it",
            Code::IMPLAUSIBLE => {
                "the list makes no sense in any form that drivers are known to write: in a container set hostPID: true (else pids are 0), and otherwise update the driver"
            }
            _ => return Ok(()),
        };
        write!(f, "; {remedy}")
    }
}

impl CallError {
    /// Whether the driver is gone, or was reloaded or replaced under us: all handles are worth nothing.
    pub fn is_of_whole_driver(&self) -> bool {
        matches!(self.code, Code::UNINITIALIZED | Code::DRIVER_NOT_LOADED | Code::LIB_RM_VERSION_MISMATCH)
    }

    /// Whether the device, or the call on it, just does not have this.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.code, Code::NOT_SUPPORTED | Code::FUNCTION_NOT_FOUND)
    }
}
