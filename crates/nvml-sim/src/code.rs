//! NVML's return codes by name and text.

use std::ffi::CStr;

use serde::Deserialize;

/// A value of `nvmlReturn_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Code(pub u32);

macro_rules! codes {
    ($($constant:ident = $value:literal, $text:literal;)*) => {
        #[expect(missing_docs, reason = "the names are nvml.h's")]
        impl Code {
            $(pub const $constant: Self = Self($value);)*
        }
        const TABLE: &[(&str, Code, &CStr)] = &[$((stringify!($constant), Code($value), $text)),*];
    };
}

codes! {
    SUCCESS = 0, c"Success";
    UNINITIALIZED = 1, c"Uninitialized";
    INVALID_ARGUMENT = 2, c"Invalid Argument";
    NOT_SUPPORTED = 3, c"Not Supported";
    NO_PERMISSION = 4, c"Insufficient Permissions";
    ALREADY_INITIALIZED = 5, c"Already Initialized";
    NOT_FOUND = 6, c"Not Found";
    INSUFFICIENT_SIZE = 7, c"Insufficient Size";
    INSUFFICIENT_POWER = 8, c"Insufficient External Power";
    DRIVER_NOT_LOADED = 9, c"Driver Not Loaded";
    TIMEOUT = 10, c"Timeout";
    IRQ_ISSUE = 11, c"Interrupt Request Issue";
    LIBRARY_NOT_FOUND = 12, c"NVML Shared Library Not Found";
    FUNCTION_NOT_FOUND = 13, c"Function Not Found";
    CORRUPTED_INFOROM = 14, c"Corrupted infoROM";
    GPU_IS_LOST = 15, c"GPU is lost";
    RESET_REQUIRED = 16, c"GPU requires restart";
    OPERATING_SYSTEM = 17, c"The operating system has blocked the request.";
    LIB_RM_VERSION_MISMATCH = 18, c"Driver/library version mismatch";
    IN_USE = 19, c"In use by another client";
    MEMORY = 20, c"Insufficient Memory";
    NO_DATA = 21, c"No data";
    VGPU_ECC_NOT_SUPPORTED = 22, c"vGPU: ECC enabled";
    INSUFFICIENT_RESOURCES = 23, c"Insufficient Resources";
    FREQ_NOT_SUPPORTED = 24, c"Frequency Not Supported";
    ARGUMENT_VERSION_MISMATCH = 25, c"Argument version mismatch";
    DEPRECATED = 26, c"Deprecated";
    NOT_READY = 27, c"Not Ready";
    GPU_NOT_FOUND = 28, c"GPU Not Found";
    INVALID_STATE = 29, c"Invalid State";
    RESET_TYPE_NOT_SUPPORTED = 30, c"Reset type not supported";
    UNKNOWN = 999, c"Unknown Error";
}

impl Code {
    /// The code of a name without its `NVML_ERROR_` prefix, such as `GPU_IS_LOST`.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|(known, ..)| *known == name).map(|(_, code, _)| *code)
    }

    /// The name without its prefix.
    pub fn name(self) -> &'static str {
        self.entry().map_or("UNKNOWN", |(name, ..)| *name)
    }

    /// The text that `nvmlErrorString` gives.
    pub fn text(self) -> &'static CStr {
        self.entry().map_or(c"Unknown Error", |(.., text)| *text)
    }

    fn entry(self) -> Option<&'static (&'static str, Self, &'static CStr)> {
        TABLE.iter().find(|(_, code, _)| *code == self)
    }
}

impl TryFrom<String> for Code {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::from_name(&name).ok_or_else(|| {
            let names: Vec<_> = TABLE.iter().map(|(name, ..)| *name).collect();
            format!("`{name}` is not an NVML return code; allowed are {}", names.join(", "))
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Code {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<_> = TABLE.iter().map(|(name, ..)| *name).collect();
        schemars::json_schema!({
            "type": "string",
            "enum": names,
            "description": "An NVML return code without its NVML_ERROR_ prefix."
        })
    }
}
