//! Ordinary gRPC services beside the node stream: called by tonic's client, which shares nothing with this server, while
//! calls go on over the node stream. They are served (G8), disturb nobody (G2, G9), and leave nothing behind (G4).
#![allow(clippy::unwrap_used)]

mod common;
#[path = "grpc/echo.rs"]
mod echo;
#[path = "grpc/ends.rs"]
mod ends;
#[path = "grpc/health.rs"]
mod health;
#[path = "grpc/hooks.rs"]
mod hooks;
#[path = "grpc/independence.rs"]
mod independence;
#[path = "grpc/raw.rs"]
mod raw;
#[path = "grpc/reflection.rs"]
mod reflection;
#[path = "grpc/scene.rs"]
mod scene;
#[path = "grpc/services.rs"]
mod services;
