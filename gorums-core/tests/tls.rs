//! TLS and mutual TLS, the identity of nodes, and who may connect.
#![allow(clippy::unwrap_used)]

mod common;

#[path = "tls/alpn.rs"]
mod alpn;
#[path = "tls/handshake.rs"]
mod handshake;
#[path = "tls/hook.rs"]
mod hook;
#[path = "tls/identity.rs"]
mod identity;
#[path = "tls/limits.rs"]
mod limits;
#[path = "tls/material.rs"]
mod material;
#[path = "tls/pki.rs"]
mod pki;
#[path = "tls/reload.rs"]
mod reload;
#[path = "tls/scene.rs"]
mod scene;
