//! URLs that an operator writes.

use ureq::http::Uri;

/// The URL without the last slash, and what stands before its `@`. `allowed` is said in errors; none shows the URL, which may hold
/// a password.
pub(crate) fn address(url: &str, allowed: &str) -> Result<(String, Option<String>), String> {
    let uri = url.trim().parse::<Uri>().map_err(|_| format!("no URL; {allowed}"))?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("no http or https URL; {allowed}"));
    };
    if uri.query().is_some() || url.contains('#') {
        return Err(format!("a query (?) or fragment (#) does not belong there; {allowed}"));
    }
    let (userinfo, place) = match authority.as_str().rsplit_once('@') {
        Some((userinfo, place)) => (Some(userinfo.to_owned()), place),
        None => (None, authority.as_str()),
    };
    // A port out of range would be left out and another asked instead.
    let port = place.strip_prefix(authority.host());
    let port_fits = port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some_and(|n| n > 0));
    if authority.host().is_empty() || !port_fits {
        return Err(format!("no host, or no port from 1 to 65535; {allowed}"));
    }
    Ok((format!("{scheme}://{place}{}", uri.path().trim_end_matches('/')), userinfo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, base, userinfo) in [
            ("http://p:9090", "http://p:9090", None),
            ("http://p:9090/", "http://p:9090", None),
            ("https://h/prometheus/", "https://h/prometheus", None),
            ("https://u:p%40s@h:8443/a/b", "https://h:8443/a/b", Some("u:p%40s")),
            ("http://u:a@b@[::1]:9090", "http://[::1]:9090", Some("u:a@b")),
        ] {
            let found = address(url, "").unwrap();
            assert_eq!((found.0.as_str(), found.1.as_deref()), (base, userinfo), "{url}");
        }
    }

    #[test]
    fn no_error_shows_the_url() {
        for url in [
            "",
            "prometheus",
            "prometheus:9090",
            "ftp://u:secret@h",
            "http://u:secret@h/?x=1",
            "http://u:secret@h#x",
            "http://u:secret@h:99999",
            "http://u:secret@:9090",
            "http://u:se cret@h",
            "/secret",
        ] {
            let error = address(url, "http(s)://").unwrap_err();
            assert!(error.contains("http(s)://") && !error.contains("secret"), "{url}: {error}");
        }
    }
}
