//! What is made of the command line for a package: man pages and completions.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use gpu_session_monitor::cli::{Cli, KubectlArgs, PLUGIN};
use std::path::Path;

/// Shells with what the files in their folders of completions begin and end with.
const COMPLETIONS: [(Shell, &str, &str); 3] =
    [(Shell::Bash, "", ""), (Shell::Zsh, "_", ""), (Shell::Fish, "", ".fish")];

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
    // The plugin's page has the name of its file, as programs have.
    let plugin = KubectlArgs::command().name(PLUGIN);
    let page = man.join(format!("{PLUGIN}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(plugin.clone()).render(&mut text)?;
    std::fs::write(&page, text).with_context(|| page.display().to_string())?;
    for (name, command) in [("gpu-session-monitor", Cli::command()), (PLUGIN, plugin)] {
        for (shell, begin, end) in COMPLETIONS {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command.clone(), name, &mut script);
            let path = completions.join(format!("{begin}{name}{end}"));
            std::fs::write(&path, script).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
