//! The description of the API, written to `docs/openapi.json` by `make generate`.

use super::{about, now, stream};
use gpu_session_api::{DeviceGone, Problem, Sampled, SessionEnded};
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
    paths(about::about, now::sessions, now::devices, now::users, now::allocations, stream::stream),
    components(schemas(Problem, SessionEnded, DeviceGone, Sampled)),
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
        for (path, content_type, summary) in PLAIN {
            document.paths.paths.insert(path.to_owned(), plain(path, content_type, summary));
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

/// Paths without parameters that stand elsewhere: path, type of the answer, what it says.
const PLAIN: [(&str, &str, &str); 4] = [
    ("/api/v1/openapi.json", "application/json", "This description"),
    ("/healthz", "text/plain", "Whether the program runs"),
    ("/metrics", "text/plain", "Metrics for Prometheus, or by the Accept header as OpenMetrics"),
    ("/readyz", "text/plain", "Whether there is a sample that is not stale"),
];

fn plain(path: &str, content_type: &str, summary: &str) -> PathItem {
    let answer = |what: &str, content_type: &str| {
        let form = if content_type == "application/json" { Type::Object } else { Type::String };
        let content = ContentBuilder::new().schema(Some(Object::with_type(form))).build();
        ResponseBuilder::new().description(what).content(content_type, content).build()
    };
    let name = path.trim_start_matches("/api/v1").trim_matches('/').trim_end_matches(".json");
    let mut good = answer(summary, content_type);
    if path == "/metrics" {
        let open = answer(summary, "application/openmetrics-text");
        good.content.extend(open.content);
    }
    let mut operation = OperationBuilder::new()
        .operation_id(Some(name))
        .summary(Some(summary))
        .tag("other")
        .response("200", good);
    if path == "/readyz" {
        operation = operation.response("503", answer("There is none yet, or it is stale", content_type));
    }
    PathItem::new(HttpMethod::Get, operation)
}
