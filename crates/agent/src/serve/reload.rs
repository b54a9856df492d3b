//! The configuration, read anew when it changes.

use super::settings::ServeSettings;
use crate::cli::ServeArgs;
use crate::config::DEFAULT_PATH;
use crate::files::Stamp;
use crate::say;
use std::path::PathBuf;

/// The same flags over the file as it is now.
pub struct Reload {
    args: ServeArgs,
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl Reload {
    /// To be made before the settings are resolved for the first time, so that no change is missed.
    pub fn new(args: &ServeArgs) -> Self {
        let path = args.common.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
        let stamp = Stamp::of(&path);
        Self { args: args.clone(), path, stamp }
    }

    /// Whether the file is another than when it was last read.
    pub(super) fn is_due(&self) -> bool {
        Stamp::of(&self.path) != self.stamp
    }

    /// The settings as they are now; `None` where they are not good, which is told.
    pub(super) fn read(&mut self, running: &ServeSettings) -> Option<ServeSettings> {
        // Before the file is read: what changes meanwhile is seen next time.
        self.stamp = Stamp::of(&self.path);
        let fresh = ServeSettings::resolve(&self.args)
            .map_err(|failure| failure.error)
            .and_then(|fresh| fresh.check().map(|()| fresh));
        match fresh {
            Ok(fresh) => Some(keep_fixed(fresh, running)),
            Err(e) => {
                say::warn(format_args!("the settings of before stay: {e:#}"));
                None
            }
        }
    }
}

/// What cannot change while the program runs stays as it is, and is told.
fn keep_fixed(mut fresh: ServeSettings, running: &ServeSettings) -> ServeSettings {
    let told = |key: &str| say::warn(format_args!("{key}: it changes only when the program is started anew"));
    if fresh.listen != running.listen {
        told("listen");
        fresh.listen = running.listen;
    }
    if fresh.web != running.web {
        told("web");
        fresh.web.clone_from(&running.web);
    }
    if fresh.common.state_dir != running.common.state_dir {
        told("state.dir");
        fresh.common.state_dir.clone_from(&running.common.state_dir);
    }
    fresh
}
