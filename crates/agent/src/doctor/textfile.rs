//! The textfile's folder.

use super::exporters::Served;
use super::{Finding, Scene};
use crate::outputs::textfile;
use crate::settings::default_textfile;

pub(super) fn folder(scene: &Scene<'_>) -> Vec<Finding> {
    let path = &scene.settings.textfile;
    if let Err(e) = textfile::check_folder(path) {
        let is_named = *path != default_textfile();
        if !is_named && matches!(scene.serve, Some((_, Served::Ours { .. }))) {
            return vec![Finding::skipped("no textfile is named, and serve shows the metrics")];
        }
        return vec![Finding::said(&e.to_string())];
    }
    let folder = textfile::folder(path);
    vec![match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Finding::ok(format!("{} can be written", folder.display())),
        Err(e) => Finding::failed(format!("{}: {e}", folder.display()), "run as a user who may write there"),
    }]
}

pub(super) fn others(scene: &Scene<'_>) -> Vec<Finding> {
    let foreign = textfile::foreign(&scene.settings.textfile);
    if foreign.is_empty() {
        return vec![Finding::ok("no other .prom file there has metrics of our names")];
    }
    let told = foreign.iter().map(|path| Finding::said(&textfile::foreign_warning(path)));
    told.collect()
}
