//! What is made of the command line for a package: man pages and completions.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use gpu_session_monitor::cli::Cli;
use std::path::Path;

/// Shells with the names that their folders of completions ask for.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "gpu-session-monitor"),
    (Shell::Zsh, "_gpu-session-monitor"),
    (Shell::Fish, "gpu-session-monitor.fish"),
];

/// Writes `man/*.1` and `completions/` into the folder.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    let made = |path: &Path| {
        // Pages of commands that are no more would be packaged.
        if path.exists() {
            std::fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
        }
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())
    };
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    made(&man)?;
    made(&completions)?;
    clap_mangen::generate_to(Cli::command(), &man).with_context(|| man.display().to_string())?;
    for (shell, name) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "gpu-session-monitor", &mut script);
        let path = completions.join(name);
        std::fs::write(&path, script).with_context(|| path.display().to_string())?;
    }
    Ok(())
}
