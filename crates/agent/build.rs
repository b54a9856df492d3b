//! Finds the commit that is built.

fn main() {
    println!("cargo:rerun-if-env-changed=GPU_SESSION_MONITOR_REVISION");
    let given = std::env::var("GPU_SESSION_MONITOR_REVISION").ok().filter(|revision| !revision.is_empty());
    let revision = given.or_else(commit).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=GPU_SESSION_MONITOR_REVISION={revision}");
}

/// The commit of the checkout, followed at each commit and checkout.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let folder = git(&["rev-parse", "--git-dir"])?;
    for file in ["HEAD", "logs/HEAD"] {
        println!("cargo:rerun-if-changed={folder}/{file}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
