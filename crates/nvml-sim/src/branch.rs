//! Driver branches: what they say about themselves, and which functions they have.
//!
//! One library cannot export now this and now that, so that a client meets an older branch as a copy in which the
//! names of the functions that it lacks are altered: [`library_of`].

mod elf;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A branch of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are NVIDIA's")]
pub enum Branch {
    R450,
    R515,
    R535,
    /// Before 535.98: records of processes are 8 bytes longer than callers expect.
    #[serde(rename = "R535-early")]
    R535Early,
    R550,
    R580,
    R590,
}

/// Functions that came after R450, with the release that they came in. What is not here has been there since; nothing
/// was ever taken away, so that the names without a version are in every branch.
///
/// Known from the headers of the CUDA toolkits and from reports of what was missing: the second layout of the process
/// lists is not in 450.36 and is in R460 (for MPS, which came later, in R495), the third came with R510. Releases
/// between two branches need not be exact.
const NEWER: &[(&str, u32)] = &[
    ("nvmlDeviceGetComputeRunningProcesses_v2", 460),
    ("nvmlDeviceGetGraphicsRunningProcesses_v2", 460),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v2", 495),
    ("nvmlDeviceGetComputeRunningProcesses_v3", 510),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", 510),
    ("nvmlDeviceGetMPSComputeRunningProcesses_v3", 510),
    ("nvmlDeviceGetMemoryInfo_v2", 510),
    ("nvmlGpmMetricsGet", 520),
    ("nvmlGpmMigSampleGet", 520),
    ("nvmlGpmQueryDeviceSupport", 520),
    ("nvmlGpmSampleAlloc", 520),
    ("nvmlGpmSampleFree", 520),
    ("nvmlGpmSampleGet", 520),
    ("nvmlDeviceGetProcessesUtilizationInfo", 550),
    ("nvmlDeviceGetAccountingStats_v2", 590),
];

impl Branch {
    /// All of them, the oldest first.
    pub const ALL: [Self; 7] =
        [Self::R450, Self::R515, Self::R535Early, Self::R535, Self::R550, Self::R580, Self::R590];

    /// Its number.
    pub fn release(self) -> u32 {
        match self {
            Self::R450 => 450,
            Self::R515 => 515,
            Self::R535 | Self::R535Early => 535,
            Self::R550 => 550,
            Self::R580 => 580,
            Self::R590 => 590,
        }
    }

    /// A driver of the branch, and the CUDA that came with it.
    pub(crate) fn defaults(self) -> (&'static str, i32) {
        match self {
            Self::R450 => ("450.248.02", 11000),
            Self::R515 => ("515.105.01", 11070),
            Self::R535 => ("535.183.01", 12020),
            Self::R535Early => ("535.54.03", 12020),
            Self::R550 => ("550.54.15", 12040),
            Self::R580 => ("580.82.07", 13000),
            Self::R590 => ("590.44.01", 13010),
        }
    }

    /// The functions of this library that the branch lacks.
    pub fn lacks(self) -> impl Iterator<Item = &'static str> {
        NEWER.iter().filter(move |(_, since)| *since > self.release()).map(|(name, _)| *name)
    }
}

/// Writes `folder/libnvidia-ml.so.1`, a copy of the simulated driver `source` (the cdylib) in which `dlsym` does not
/// find the functions that a branch lacks, and finds all others. The folder is made if need be.
///
/// The branch's behaviour, as far as there is any, is the scenario's to choose: `driver: { branch: … }`.
pub fn library_of(branch: Branch, source: &Path, folder: &Path) -> io::Result<PathBuf> {
    let mut image = std::fs::read(source)?;
    let names = elf::dynamic_strings(&image)?;
    for function in branch.lacks() {
        let at = elf::position(&image[names.clone()], function).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{} has no {function}", source.display()))
        })?;
        // The hash table still has the old name: whoever looks for it finds this one in its place, and it differs.
        image[names.start + at] = b'-';
    }
    std::fs::create_dir_all(folder)?;
    let library = folder.join("libnvidia-ml.so.1");
    // Renamed into place: somebody may have an earlier copy in memory.
    let beside = folder.join(format!("libnvidia-ml.so.1.{}", std::process::id()));
    std::fs::write(&beside, image)?;
    std::fs::rename(&beside, &library)?;
    Ok(library)
}
