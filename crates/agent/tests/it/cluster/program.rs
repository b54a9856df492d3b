//! The program's image for the cluster's nodes, made of the program that the tests run.

use crate::containers::Containerd;
use crate::image;
use std::path::Path;

/// The image's repository; the chart adds its version as the tag.
pub(crate) const REPOSITORY: &str = "localhost/gpu-session-monitor";

/// Makes the image, and gives it to the nodes.
pub(super) fn import(containerd: &Containerd, folder: &Path) {
    let archive = folder.join("program.tar");
    image::make(&image::stripped(folder), &archive);
    containerd.import_archive(&archive, &[&format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"))]);
    std::fs::remove_file(archive).unwrap();
}
