//! What the package says of itself: by Debian's checker, systemd's and the reader of man pages.

use super::{folder, generated, package, succeed};
use crate::node::{Run, program, workspace};
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Where the package puts the program.
const INSTALLED: &str = "/usr/bin/gpu-session-monitor";

#[test]
fn lintian_finds_no_error() {
    let run = lintian(package());
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    // It does look.
    let folder = tempfile::tempdir().unwrap();
    let (tree, broken) = (folder.path().join("tree"), folder.path().join("broken.deb"));
    succeed(Command::new("dpkg-deb").arg("--raw-extract").arg(package()).arg(&tree));
    std::fs::remove_file(tree.join("usr/share/doc/gpu-session-monitor/copyright")).unwrap();
    std::fs::write(tree.join("usr/bin/gpu-session-monitor"), "#!/bin/sh\n").unwrap();
    succeed(Command::new("dpkg-deb").args(["--build", "-Zgzip"]).arg(&tree).arg(&broken));
    let run = lintian(&broken);
    assert!(run.code == 2 && run.stdout.contains("no-copyright-file"), "{}", run.stdout);
}

fn lintian(package: &Path) -> Run {
    let mut lintian = Command::new("lintian");
    Run::of(lintian.args(["--allow-root", "--fail-on", "error"]).arg(package).output().unwrap())
}

#[test]
fn systemd_knows_all_that_the_units_say() {
    let folder = tempfile::tempdir().unwrap();
    let units = std::fs::read_dir(workspace().join("packaging/systemd")).unwrap().map(|entry| {
        let (from, to) = (entry.unwrap().path(), folder.path());
        let text = std::fs::read_to_string(&from).unwrap();
        assert!(
            from.extension().is_some_and(|ending| ending != "service") || text.contains(INSTALLED),
            "{text}"
        );
        let to = to.join(from.file_name().unwrap());
        // Not installed on this machine.
        std::fs::write(&to, text.replace(INSTALLED, program())).unwrap();
        to
    });
    let units: Vec<_> = units.collect();
    assert_eq!(units.len(), 3);
    let run = succeed(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units));
    assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
}

#[test]
fn the_units_are_as_confined_as_the_documentation_says() {
    let text = std::fs::read_to_string(workspace().join("docs/operations.md")).unwrap();
    for unit in ["gpu-session-monitor.service", "gpu-session-monitor-collect.service"] {
        let path = workspace().join("packaging/systemd").join(unit);
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager"]).arg(path);
        let run = succeed(&mut command);
        let verdict = run.stdout.lines().last().unwrap();
        let number = |text: &str| text.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        let mut rows = text.lines().filter(|line| line.starts_with(&format!("| `{unit}` |")));
        let said = rows.find_map(number).expect(unit);
        let score = number(verdict).expect(verdict);
        // Another version of systemd asks for more or less.
        assert!((score - said).abs() <= 0.5, "{verdict}: docs/operations.md says {said}");
    }
}

#[test]
fn man_pages_name_every_flag() {
    let pages: BTreeSet<_> =
        std::fs::read_dir(generated().join("man")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(
        pages.len() > 8 && pages.iter().any(|page| page.ends_with("kubectl-gpu_sessions.1")),
        "{pages:?}"
    );
    for page in pages {
        let text = rendered(&page);
        let name = page.file_stem().unwrap().to_str().unwrap();
        let mut program = Command::new(program());
        if let Some(command) = name.strip_prefix("gpu-session-monitor") {
            program.args(Some(command.trim_start_matches('-')).filter(|command| !command.is_empty()));
        } else {
            program.arg0(name);
        }
        let help = succeed(program.arg("--help")).stdout;
        let (wanted, found) = (flags(&help), flags(&text));
        assert!(wanted.contains("--help"), "{help}");
        let missing: Vec<_> = wanted.difference(&found).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}:\n{text}");
        assert!(text.contains(&format!("{name}(1)")) && text.contains("SYNOPSIS"), "{text}");
    }
}

/// The page as `man` shows it in a very wide terminal; groff warns of nothing.
fn rendered(page: &Path) -> String {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-P-cbou", "-rLL=2000n", "-rHY=0", "-ww"]).arg(page);
    let run = succeed(&mut groff);
    assert_eq!(run.stderr, "", "{}", page.display());
    run.stdout
}

/// Long flags in a text.
fn flags(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

#[test]
fn nobody_needs_to_be_root_to_make_it() {
    let folder = folder("rootless");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=1000", "--map-group=1000"]).arg(workspace().join("scripts/deb.sh"));
    command.arg(program()).arg(generated()).arg(&folder);
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    succeed(&mut command);
    let package = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let listed = succeed(Command::new("dpkg-deb").arg("--contents").arg(package)).stdout;
    assert!(
        listed.lines().count() > 20 && listed.lines().all(|line| line.contains(" root/root ")),
        "{listed}"
    );
    assert!(listed.contains("/THIRD-PARTY"), "{listed}");
}
