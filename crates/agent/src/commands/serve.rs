//! `serve`: measures all the time.

use crate::cli::ServeArgs;
use crate::exit::{Exit, Failure};
use crate::outputs::server::Web;
use crate::serve::reload::Reload;
use crate::serve::settings::ServeSettings;
use crate::serve::{Loop, Setup, bind};
use crate::{VERSION, say};
use std::sync::Arc;

pub(super) fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    // First, so that no change of the file is missed.
    let reload = Some(Reload::new(args));
    let settings = ServeSettings::resolve(args)?;
    settings.check()?;
    let listener = settings.listen.map(bind).transpose()?;
    let serving = match listener {
        Some(listener) => {
            let web = Web::open(&settings.web, listener.local_addr()?).map_err(Failure::usage)?;
            Some((listener, Arc::new(web)))
        }
        None => None,
    };
    let start = start(&settings, serving.as_ref().map(|(_, web)| &**web));
    let observe = Box::new(|_: &_| None);
    let ready = Loop::open(Setup { settings, serving, reload, end_after: None, observe })?;
    say::info(start);
    Ok(ready.run())
}

/// The one line at the start, with the address as it is, which matters where the port asked for is 0.
fn start(settings: &ServeSettings, web: Option<&Web>) -> String {
    let listen = web.map_or_else(|| "off".to_owned(), |web| web.summary("/metrics"));
    let otlp =
        settings.otlp.as_ref().map(|target| format!("; OTLP to {}", target.endpoint)).unwrap_or_default();
    format!(
        "version {VERSION}; every {}; listen {listen}{otlp}; state in {}; devices {}",
        humantime::format_duration(settings.interval),
        settings.common.state_dir.display(),
        settings.devices,
    )
}
