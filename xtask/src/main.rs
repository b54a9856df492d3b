//! Generators: `cargo xtask generate` writes what is generated, `cargo xtask check` says what is not up to date, and
//! `cargo xtask dist FOLDER` writes what a package has beside the program.

mod config_file;
mod dashboards;
mod dist;
mod generate;

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

fn main() -> anyhow::Result<()> {
    let root = root()?;
    match std::env::args().nth(1).as_deref() {
        Some("generate") => {
            for (path, text) in generate::all()? {
                let path = root.join(path);
                std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            }
            Ok(())
        }
        Some("check") => check(&root),
        Some("dist") => dist::write(std::env::args_os().nth(2).context("dist: name a folder")?.as_ref()),
        _ => bail!("usage: cargo xtask generate | check | dist FOLDER"),
    }
}

fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is in the workspace")?;
    Ok(root.to_owned())
}

fn check(root: &Path) -> anyhow::Result<()> {
    for (path, text) in generate::all()? {
        if std::fs::read_to_string(root.join(&path)).ok() != Some(text) {
            bail!("{path} is not what the code says: run `make generate` and review the diff");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_generated_is_up_to_date() {
        let checked = super::root().and_then(|root| super::check(&root));
        assert!(checked.is_ok(), "{checked:?}");
    }

    #[test]
    fn every_key_of_the_reference_is_a_key_of_the_file() {
        for option in super::generate::options() {
            let Some(key) = option.key.as_deref() else { continue };
            let text = match key.split_once('.') {
                Some((section, name)) => format!("{section}: {{ {name}: [] }}\n"),
                None => format!("{key}: [x]\n"),
            };
            if let Err(error) = gpu_session_monitor::config::Config::parse(&text) {
                assert!(!error.contains("unknown"), "{key}: {error}");
            }
        }
    }
}
