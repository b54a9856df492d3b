//! The description of the API, written to `docs/openapi.json` by `make generate`.

use super::{now, stream};
use gpu_session_api::{DeviceGone, Sampled, SessionEnded};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, ResponseBuilder, schema::Object};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "gpu-session-monitor",
        description = "Who is on which GPU of this node, with what; who was; and what changes. What is not known is `null`; \
                       times are Unix seconds.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(now::sessions, now::devices, now::users, now::allocations, stream::stream),
    components(schemas(SessionEnded, DeviceGone, Sampled)),
    modifiers(&Rest),
)]
struct Api;

/// The description.
pub fn openapi() -> Document {
    Api::openapi()
}

/// What stands outside the API, and who may ask.
struct Rest;

impl Modify for Rest {
    fn modify(&self, document: &mut Document) {
        let plain = [
            ("/metrics", "Metrics, as Prometheus text or by the Accept header as OpenMetrics", 200),
            ("/healthz", "Whether the program runs", 200),
            ("/readyz", "Whether there is a sample that is not stale", 200),
        ];
        for (path, summary, status) in plain {
            document.paths.paths.insert(path.to_owned(), text(path, summary, status));
        }
        let schemes = [("basic", HttpAuthScheme::Basic), ("bearer", HttpAuthScheme::Bearer)];
        let components = document.components.get_or_insert_default();
        for (name, scheme) in schemes {
            components.add_security_scheme(name, SecurityScheme::Http(Http::new(scheme)));
        }
        let any: [SecurityRequirement; 3] = [
            SecurityRequirement::default(),
            SecurityRequirement::new("basic", [""; 0]),
            SecurityRequirement::new("bearer", [""; 0]),
        ];
        document.security = Some(any.into());
    }
}

/// A path that answers with text.
fn text(path: &str, summary: &str, status: u16) -> PathItem {
    let content = || ContentBuilder::new().schema(Some(Object::with_type(Type::String))).build();
    let answer =
        |what: &str| ResponseBuilder::new().description(what).content("text/plain", content()).build();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(path.trim_start_matches('/')))
        .summary(Some(summary))
        .tag("text")
        .response(status.to_string(), answer("It is so"));
    if path == "/readyz" {
        operation = operation.response("503", answer("It is not: there is none yet, or it is stale"));
    }
    PathItem::new(HttpMethod::Get, operation)
}
