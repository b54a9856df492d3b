//! Gives the cdylib the driver library's soname and puts it where a loader looks for that name.

use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libnvidia-ml.so.1");
    let Some(profile) = std::env::var_os("OUT_DIR").map(PathBuf::from).and_then(|out| profile_folder(&out))
    else {
        println!("cargo:warning=the profile folder is not above OUT_DIR: no libnvidia-ml.so.1 link made");
        return;
    };
    if let Err(error) = link(&profile.join("nvml-sim")) {
        println!("cargo:warning=no libnvidia-ml.so.1 link made: {error}");
    }
}

/// `target/<profile>` of `target/<profile>/build/<package>-<hash>/out`.
fn profile_folder(out: &Path) -> Option<PathBuf> {
    out.ancestors().find(|folder| folder.ends_with("build")).and_then(Path::parent).map(Path::to_path_buf)
}

/// A relative link, so that the target folder can be moved.
fn link(folder: &Path) -> std::io::Result<()> {
    let link = folder.join("libnvidia-ml.so.1");
    let target = Path::new("../libnvml_sim.so");
    if std::fs::read_link(&link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(target, &link)
}
