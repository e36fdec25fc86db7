//! What delivery shows and is asked: plans, services, releases, runs, and the port to it.
//!
//! These types are the wire form of `/api/stead/v1` as well: they only ever gain optional fields.
//! (Domain types and wire types are kept apart elsewhere; here the domain's answer *is* the view, and
//! a second set would only be copied field by field.) Times are RFC 3339 in UTC.

pub mod plan;
pub mod port;
pub mod service;
pub mod traffic;

pub use plan::{
    Action, ArtifactFile, ArtifactTree, Document, FieldChange, Plan, PlanState, Removal, Rotation, Source,
    Step, Submission, Summary,
};
pub use port::Delivery;
pub use service::{
    Binding, Check, Endpoint, Exit, Health, Kind, Release, ReleaseState, Replica, ReplicaState, Run,
    RunState, RunStep, Service, ServiceDetail, StepState,
};
pub use traffic::{Map, MapEdge, MapNode, Point, Series};
