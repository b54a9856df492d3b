//! Reviews of tokens and of rights.

use super::{client, client_with, cluster};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
    SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use kube_sim::api::Rule;

const BOB: &str = "system:serviceaccount:team-a:bob";

async fn token(client: &Client, token: &str) -> kube::Result<TokenReview> {
    let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
    let review = TokenReview { spec, ..TokenReview::default() };
    Api::all(client.clone()).create(&PostParams::default(), &review).await
}

async fn may(client: &Client, spec: SubjectAccessReviewSpec) -> kube::Result<bool> {
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.unwrap().allowed)
}

fn path(user: &str, path: &str) -> SubjectAccessReviewSpec {
    let attributes = NonResourceAttributes { path: Some(path.to_owned()), verb: Some("get".to_owned()) };
    SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        non_resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    }
}

fn code<T: std::fmt::Debug>(result: kube::Result<T>) -> u16 {
    match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_somebodys_or_nobodys() {
    let (_cluster, server) = cluster();
    server.accept_token_with("bobs", BOB, []);
    let client = client(&server).await;
    let status = token(&client, "bobs").await.unwrap().status.unwrap();
    let user = status.user.unwrap();
    assert_eq!((status.authenticated, user.username.as_deref()), (Some(true), Some(BOB)));
    let groups = user.groups.unwrap();
    for group in ["system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated"] {
        assert!(groups.iter().any(|own| own == group), "{groups:?}");
    }
    server.revoke_token("bobs");
    for nobodys in ["bobs", "unknown"] {
        let status = token(&client, nobodys).await.unwrap().status.unwrap();
        assert_ne!(status.authenticated, Some(true), "{nobodys}");
        assert!(status.error.is_some());
    }
    assert_eq!(code(token(&client, "").await), 422);
}

#[tokio::test]
async fn a_right_is_what_the_rules_say() {
    let (_cluster, server) = cluster();
    let rules = [
        Rule::of_paths(&["get"], &["/metrics", "/logs/*"]),
        Rule::new(&["list"], &["pods"]).within("team-a"),
    ];
    server.accept_token_with("bobs", BOB, rules);
    let client = client(&server).await;
    let asked = async |user: &str, of: &str| may(&client, path(user, of)).await.unwrap();
    // The last two are everybody's with a token, and everybody's.
    for own in ["/metrics", "/logs/a", "/api/v1/anything", "/healthz"] {
        assert!(asked(BOB, own).await, "{own}");
    }
    assert!(!asked(BOB, "/metrics/x").await);
    assert!(!asked("nobody", "/metrics").await);
    let pods = |namespace: &str| SubjectAccessReviewSpec {
        user: Some(BOB.to_owned()),
        resource_attributes: Some(ResourceAttributes {
            verb: Some("list".to_owned()),
            resource: Some("pods".to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        }),
        ..SubjectAccessReviewSpec::default()
    };
    assert!(may(&client, pods("team-a")).await.unwrap());
    assert!(!may(&client, pods("team-b")).await.unwrap());
    assert_eq!(code(may(&client, SubjectAccessReviewSpec::default()).await), 422);
    assert_eq!(code(may(&client, SubjectAccessReviewSpec { user: None, ..path("", "/metrics") }).await), 422);
}

#[tokio::test]
async fn who_asks_for_reviews_needs_the_right_to() {
    let (_cluster, server) = cluster();
    server.accept_token_with("bobs", BOB, []);
    server.accept_token_with("delegators", "system:serviceaccount:a:b", Rule::auth_delegator());
    let bob = client_with(&server, "bobs").await;
    assert_eq!((code(token(&bob, "bobs").await), code(may(&bob, path(BOB, "/x")).await)), (403, 403));
    let delegator = client_with(&server, "delegators").await;
    assert!(token(&delegator, "bobs").await.is_ok() && may(&delegator, path(BOB, "/x")).await.is_ok());
}

#[tokio::test]
async fn anybody_with_a_token_may_ask_what_he_may_do() {
    let (_cluster, server) = cluster();
    server.accept_token_with("bobs", BOB, [Rule::new(&["list"], &["pods"])]);
    let bob = client_with(&server, "bobs").await;
    let ask = async |client: &Client, attributes: Option<ResourceAttributes>| {
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: attributes, ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await;
        answer.map(|review: SelfSubjectAccessReview| review.status.unwrap().allowed)
    };
    let pods = |verb: &str| {
        let (verb, resource) = (Some(verb.to_owned()), Some("pods".to_owned()));
        Some(ResourceAttributes { verb, resource, ..ResourceAttributes::default() })
    };
    assert_eq!(ask(&bob, pods("list")).await.ok(), Some(true));
    assert_eq!(ask(&bob, pods("watch")).await.ok(), Some(false));
    assert_eq!(code(ask(&bob, None).await), 422);
    let nobody = client_with(&server, "unknown").await;
    assert_eq!(code(ask(&nobody, pods("list")).await), 401);
}

#[tokio::test]
async fn nodes_are_listed_by_their_labels() {
    use k8s_openapi::api::core::v1::Node;
    let (cluster, server) = cluster();
    cluster.put_node("gpu-1", [("nvidia.com/gpu.present", "true")]);
    cluster.put_node("cpu-1", []);
    let api = Api::<Node>::all(client(&server).await);
    let names = async |labels: &str| -> Vec<String> {
        let params = kube::api::ListParams::default().labels(labels);
        api.list(&params).await.unwrap().items.into_iter().filter_map(|node| node.metadata.name).collect()
    };
    assert_eq!(names("nvidia.com/gpu.present=true").await, ["gpu-1"]);
    assert_eq!(names("kubernetes.io/hostname").await, ["cpu-1", "gpu-1"]);
    assert_eq!(api.get("cpu-1").await.unwrap().metadata.name.as_deref(), Some("cpu-1"));
}
