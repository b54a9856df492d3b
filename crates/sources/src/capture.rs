//! Captures: what every source said, to be run again anywhere.

use gpu_session_core::sample::Sample;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the capture format.
pub const CAPTURE_VERSION: u32 = 1;
const FORMAT: &str = "gpu-session-monitor capture";
/// Largest capture that is read.
const MAX_BYTES: u64 = 1 << 30;

/// Samples in time order, as the pipeline took them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    format: String,
    version: u32,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// A capture that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// It is not in our format.
    #[error("{0}: no capture of this program: {1}")]
    Malformed(String, String),
}

impl Capture {
    /// A capture of these samples.
    pub fn new(samples: Vec<Sample>) -> Self {
        Self { format: FORMAT.to_owned(), version: CAPTURE_VERSION, samples }
    }

    /// The file's text: JSON, a line for each sample, so that two captures can be compared.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut out = format!("{{\"format\":{FORMAT:?},\"version\":{},\"samples\":[\n", self.version);
        for (i, sample) in self.samples.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { ",\n" });
            out.push_str(&serde_json::to_string(sample)?);
        }
        out.push_str("\n]}\n");
        Ok(out)
    }

    /// Reads a capture.
    pub fn load(path: &Path) -> Result<Self, CaptureError> {
        let name = path.display().to_string();
        let size = std::fs::metadata(path).map_err(|e| CaptureError::Io(name.clone(), e))?.len();
        let malformed = |problem: String| CaptureError::Malformed(name.clone(), problem);
        if size > MAX_BYTES {
            return Err(malformed("larger than 1 GiB".to_owned()));
        }
        let text = std::fs::read(path).map_err(|e| CaptureError::Io(name.clone(), e))?;
        Self::parse(&text).map_err(malformed)
    }

    /// Reads the bytes of a capture; the error says what is wrong with them.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let capture: Self = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if capture.format != FORMAT || capture.version != CAPTURE_VERSION {
            return Err(format!(
                "it says {:?} version {}, this program reads {FORMAT:?} version {CAPTURE_VERSION}",
                capture.format, capture.version
            ));
        }
        for (number, sample) in capture.samples.iter().enumerate() {
            sample.check().map_err(|what| format!("sample {number}: {what}"))?;
        }
        Ok(capture)
    }
}
