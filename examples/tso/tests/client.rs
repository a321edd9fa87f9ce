//! Whom a client follows.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gorums::{ClientTls, Configuration, Server, ServerContext, ServerTls, Status};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tso::proto::{LeaderHint, StatusRequest, Timestamps, TimestampsRequest, Tso, TsoServer, TsoStatus};
use tso::{Client, Error};

const SECOND: Duration = Duration::from_secs(1);

/// A node that says what it is told to.
#[derive(Clone, Default)]
struct Fake {
    calls: Arc<AtomicU64>,
    next: Arc<AtomicU64>,
    says: Arc<Mutex<Says>>,
}

#[derive(Clone, Default)]
enum Says {
    /// Grants in this term.
    Grants(u64),
    Leads(LeaderHint),
    #[default]
    Nothing,
}

impl Fake {
    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Tso for Fake {
    async fn get_timestamps(
        &self,
        _: &ServerContext,
        request: TimestampsRequest,
    ) -> Result<Timestamps, Status> {
        self.calls.fetch_add(1, Relaxed);
        let says = self.says.lock().unwrap().clone();
        match says {
            Says::Grants(epoch) => {
                let first = self.next.fetch_add(request.count.into(), Relaxed);
                Ok(Timestamps { first, count: request.count, epoch })
            }
            Says::Leads(leader) => Err(Error::NotServing { leader: Some(leader) }.into()),
            Says::Nothing => Err(Error::NotServing { leader: None }.into()),
        }
    }

    async fn get_status(&self, _: &ServerContext, _: StatusRequest) -> Result<TsoStatus, Status> {
        Ok(TsoStatus::default())
    }

    async fn ping(&self, _: &ServerContext, _: TimestampsRequest) -> Result<Timestamps, Status> {
        Ok(Timestamps::default())
    }
}

async fn serve(fake: &Fake, tls: Option<ServerTls>) -> String {
    let mut server = Server::builder().add_service(TsoServer::new(fake.clone()));
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let bound = server.bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addr().to_string();
    tokio::spawn(bound.serve());
    address
}

fn hint(node: u32, address: &str, epoch: u64) -> Says {
    Says::Leads(LeaderHint { node, address: address.to_owned(), epoch })
}

#[tokio::test]
async fn hints_lead_to_nodes_that_were_not_known_and_never_back_to_an_earlier_term() {
    let (first, second, third) = (Fake::default(), Fake::default(), Fake::default());
    let (at, at_second, at_third) =
        (serve(&first, None).await, serve(&second, None).await, serve(&third, None).await);
    first.says(hint(2, &at_second, 5));
    second.says(Says::Grants(5));
    let client = Client::builder().nodes([(1, at)]).timeout(SECOND).build().unwrap();
    assert_eq!(client.get_batch(3).await.unwrap().epoch(), 5);
    assert_eq!((first.calls.load(Relaxed), second.calls.load(Relaxed)), (1, 1));
    client.get().await.unwrap();
    assert_eq!(first.calls.load(Relaxed), 1, "it knows the leader by now");

    // The leader has gone, and somebody tells of an earlier one, who still grants.
    second.says(Says::Nothing);
    first.says(hint(3, &at_third, 4));
    third.says(Says::Grants(4));
    assert!(client.get().await.is_err());
    assert_eq!(third.calls.load(Relaxed), 0, "the hint is old");
    // And what the leader of an earlier term grants does not count.
    second.says(Says::Grants(4));
    assert!(client.get().await.is_err());
    second.says(Says::Grants(6));
    assert_eq!(client.get_batch(1).await.unwrap().epoch(), 6);
}

#[tokio::test]
async fn callers_at_once_share_calls_and_get_different_timestamps() {
    let fake = Fake::default();
    fake.says(Says::Grants(1));
    let client = Client::builder().nodes([(1, serve(&fake, None).await)]).build().unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let client = client.clone();
        callers.spawn(async move { client.get_batch(3).await.unwrap().iter().collect::<Vec<_>>() });
    }
    let mut all: Vec<_> = callers.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 600);
    assert!(fake.calls.load(Relaxed) < 100, "{} calls for 200 callers", fake.calls.load(Relaxed));
}

#[tokio::test]
async fn a_hint_does_not_lead_from_tls_to_plain() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();

    let (secured, plain) = (Fake::default(), Fake::default());
    let tls = ServerTls::from_pem(certificate, key.serialize_pem()).unwrap();
    let at = serve(&secured, Some(tls)).await;
    secured.says(hint(2, &serve(&plain, None).await, 5));
    plain.says(Says::Grants(5));
    let connections = Configuration::builder().tls(ClientTls::from_ca_pem(ca).unwrap());
    let client = Client::builder().nodes([(1, at)]).timeout(SECOND).connections(connections);
    let client = client.build().unwrap();
    assert!(client.get().await.is_err());
    assert!(secured.calls.load(Relaxed) > 0);
    assert_eq!(plain.calls.load(Relaxed), 0);
}
