//! Says in words what went wrong in TLS, and what can be done about it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

use crate::transport::TransportError;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    fn peer(self) -> &'static str {
        match self {
            Self::Client => "server",
            Self::Server => "client",
        }
    }

    fn own(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    /// What holds the CA that this end trusts.
    fn trust(self) -> &'static str {
        match self {
            Self::Client => "`ClientTls`",
            Self::Server => "`ServerTls::client_ca_pem`",
        }
    }
}

/// Why a handshake failed.
pub(super) fn failure(error: &io::Error, role: Role) -> TransportError {
    let Some(tls) = rustls_error(error) else {
        let (peer, hint) = (role.peer(), "does it use TLS?");
        let what = format!("the {peer} ended the connection during the TLS handshake ({error}); {hint}");
        return TransportError::Io(io::Error::new(error.kind(), what));
    };
    let what = format!("TLS: {}", explain(tls, role));
    TransportError::Io(io::Error::new(error.kind(), what))
}

/// The peer speaks TLS, and something else in it than HTTP/2.
pub(super) fn wrong_protocol(role: Role) -> TransportError {
    let what =
        format!("TLS: the {} has not agreed on HTTP/2 (ALPN \"h2\"); is it a gorums node?", role.peer());
    TransportError::Io(io::Error::new(io::ErrorKind::InvalidData, what))
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn explain(error: &Error, role: Role) -> String {
    let (peer, own, trust) = (role.peer(), role.own(), role.trust());
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.to_string(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            format!(
                "the certificate of the {peer} is of no CA that this {own} trusts: is {trust} given the right one?"
            )
        }
        Error::InvalidCertificate(reason) => format!("the certificate of the {peer} is not good: {reason}"),
        Error::NoCertificatesPresented => {
            format!("the {peer} has shown no certificate, and has to: give its `ClientTls` an identity")
        }
        Error::InvalidMessage(_) => {
            format!(
                "the {peer} does not speak TLS: is it to be given `.tls(..)`, or this {own} not? ({error})"
            )
        }
        Error::AlertReceived(alert) => format!("{} ({alert:?})", alert_received(*alert, role)),
        error => error.to_string(),
    }
}

fn alert_received(alert: AlertDescription, role: Role) -> String {
    let (peer, own) = (role.peer(), role.own());
    match alert {
        AlertDescription::CertificateRequired => {
            format!("the {peer} requires a certificate of this {own}: give `ClientTls` an identity")
        }
        AlertDescription::UnknownCA => {
            format!("the {peer} does not trust the CA of this {own}'s certificate")
        }
        AlertDescription::CertificateExpired => {
            format!("the {peer} says that this {own}'s certificate has expired, or is not valid yet")
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            format!("the {peer} refuses this {own}'s certificate: is it that of another name or node?")
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            format!("the {peer} and this {own} have no version or algorithm in common; TLS 1.3 is needed")
        }
        AlertDescription::NoApplicationProtocol => {
            format!("the {peer} does not speak HTTP/2 (ALPN \"h2\") over TLS; is it a gorums node?")
        }
        _ => format!("the {peer} has ended the TLS connection"),
    }
}

/// A TLS stream whose errors are said in words. A client learns only here, after the handshake, that the server does
/// not take its certificate.
#[derive(Debug)]
pub(super) struct Explained<S> {
    stream: S,
    role: Role,
}

impl<S> Explained<S> {
    pub(super) fn new(stream: S, role: Role) -> Self {
        Self { stream, role }
    }

    fn explained(&self, error: io::Error) -> io::Error {
        match rustls_error(&error) {
            Some(tls) => io::Error::new(error.kind(), format!("TLS: {}", explain(tls, self.role))),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                io::Error::new(error.kind(), format!("the {} broke the TLS connection off", self.role.peer()))
            }
            None => error,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        polled.map_err(|error| self.explained(error))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
