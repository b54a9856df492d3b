//! `v1.PodResourcesLister`, and what can be wrong with it.

use super::messages::{
    AllocatableRequest, AllocatableResponse, ContainerDevices, ContainerResources, GetRequest, GetResponse,
    ListRequest, ListResponse, PodResources,
};
use super::{Fault, Shared, told};
use crate::lock;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, Response, header};
use prost::Message;
use std::convert::Infallible;
use std::io;
use std::time::Duration;
use tokio_stream::StreamExt;
use tonic::Status;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

/// Answers a call.
pub(super) async fn answer<B>(
    shared: Shared,
    request: Request<B>,
) -> Result<Response<tonic::body::Body>, Infallible>
where
    B: axum::body::HttpBody + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    let path = request.uri().path().to_owned();
    let method = path.strip_prefix("/v1.PodResourcesLister/").unwrap_or(&path).to_owned();
    shared.record(&method);
    if let Some(wrong) = wrong(&shared, &method).await {
        return Ok(wrong);
    }
    Ok(match method.as_str() {
        "List" => Grpc::new(ProstCodec::default()).unary(List(shared), request).await,
        "GetAllocatableResources" => {
            Grpc::new(ProstCodec::default()).unary(Allocatable(shared), request).await
        }
        "Get" => Grpc::new(ProstCodec::default()).unary(Get(shared), request).await,
        _ => Status::unimplemented(format!("unknown method {path}")).into_http(),
    })
}

/// An answer in place of the right one.
async fn wrong(shared: &Shared, method: &str) -> Option<Response<tonic::body::Body>> {
    let fault = shared.fault.borrow().clone();
    match fault {
        Fault::Slow(delay) => tokio::time::sleep(delay).await,
        Fault::Deaf => drop(shared.fault.subscribe().wait_for(|fault| *fault != Fault::Deaf).await),
        Fault::Unavailable => {
            return Some(Status::unavailable("the kubelet is shutting down").into_http());
        }
        Fault::RateLimited => {
            let message = "rejected by rate limit";
            return Some(Status::resource_exhausted(message).into_http());
        }
        Fault::NoAllocatable if method == "GetAllocatableResources" => {
            let message = "unknown method GetAllocatableResources for service v1.PodResourcesLister";
            return Some(Status::unimplemented(message).into_http());
        }
        Fault::AllocatableDisabled if method == "GetAllocatableResources" => {
            let message = "Pod Resources API GetAllocatableResources disabled";
            return Some(Status::unknown(message).into_http());
        }
        Fault::GetDisabled if method == "Get" => {
            return Some(Status::unknown("PodResources API Get method disabled").into_http());
        }
        Fault::Half => {
            let answer = frame(&shared.list().encode_to_vec());
            let half = answer.slice(..(answer.len() / 2).max(1));
            return Some(raw(vec![Ok(half), Err(io::Error::other("cut on order"))]));
        }
        Fault::Garbage => return Some(raw(vec![Ok(frame(&[0xff; 64]))])),
        _ => {}
    }
    None
}

/// A message as gRPC frames it: not compressed, length, bytes.
fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// An answer of these pieces.
fn raw(pieces: Vec<io::Result<Bytes>>) -> Response<tonic::body::Body> {
    // A reset overtakes what has not been written yet.
    let slowly = tokio_stream::iter(pieces).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        piece
    });
    let body = Body::from_stream(slowly);
    let mut response = Response::new(tonic::body::Body::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

type Answer<T> = std::future::Ready<Result<tonic::Response<T>, Status>>;

fn ready<T>(answer: Result<T, Status>) -> Answer<T> {
    std::future::ready(answer.map(tonic::Response::new))
}

struct List(Shared);

impl UnaryService<ListRequest> for List {
    type Response = ListResponse;
    type Future = Answer<ListResponse>;

    fn call(&mut self, _: tonic::Request<ListRequest>) -> Self::Future {
        let mut list = self.0.list();
        if let Fault::Huge(bytes) = *self.0.fault.borrow() {
            list.pod_resources.push(padding(bytes));
        }
        ready(Ok(list))
    }
}

struct Allocatable(Shared);

impl UnaryService<AllocatableRequest> for Allocatable {
    type Response = AllocatableResponse;
    type Future = Answer<AllocatableResponse>;

    fn call(&mut self, _: tonic::Request<AllocatableRequest>) -> Self::Future {
        ready(Ok(told::allocatable(&self.0.cluster, &self.0.node)))
    }
}

struct Get(Shared);

impl UnaryService<GetRequest> for Get {
    type Response = GetResponse;
    type Future = Answer<GetResponse>;

    fn call(&mut self, request: tonic::Request<GetRequest>) -> Self::Future {
        let GetRequest { pod_name, pod_namespace } = request.into_inner();
        if let Some(call) = lock(&self.0.calls).back_mut() {
            call.pod = Some((pod_namespace.clone(), pod_name.clone()));
        }
        let pod = told::get(&self.0.cluster, &self.0.node, &pod_namespace, &pod_name);
        let missing = || Status::unknown(format!("pod {pod_name} in namespace {pod_namespace} not found"));
        ready(pod.map(|pod| GetResponse { pod_resources: Some(pod) }).ok_or_else(missing))
    }
}

/// A pod that is at least so large, with devices of no GPU.
fn padding(bytes: usize) -> PodResources {
    let id = "x".repeat(1000);
    let device = ContainerDevices {
        resource_name: "example.com/padding".to_owned(),
        device_ids: vec![id; bytes.div_ceil(1000)],
        topology: None,
    };
    let container = ContainerResources {
        name: "padding".to_owned(),
        devices: vec![device],
        ..ContainerResources::default()
    };
    PodResources {
        name: "padding".to_owned(),
        namespace: "default".to_owned(),
        containers: vec![container],
        ..PodResources::default()
    }
}
