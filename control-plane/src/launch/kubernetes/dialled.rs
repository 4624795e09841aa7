//! Where pods dial the control plane, for their NetworkPolicy, which knows addresses and pods but no names.
//!
//! Hosts are looked up when they are first asked for, and again and again after that. The rule a newcomer would break: what
//! was known is not forgotten because nobody answers, or pods would be cut off by a name server that is away.

use super::objects::{Dialled, Inside};
use crate::domain::{Kubernetes, Time};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Between two looks at what hosts are called.
pub(super) const AGAIN: Duration = Duration::from_secs(15);
/// For one answer of a name server.
const PATIENCE: Duration = Duration::from_secs(3);
/// An address counts for so long after it was last told: of hosts with many, each answer may have a few.
const LIFE_MS: i64 = 60 * 60 * 1_000;
/// More addresses of one host are not kept.
const MOST: usize = 64;

/// The pods of this control plane, as the policies of its cluster choose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPods {
    /// Their namespace.
    pub namespace: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
    /// The port that nodes dial there, behind whatever Service.
    pub port: u16,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    host: String,
    port: u16,
    /// Where that is, as an infrastructure says.
    told: Vec<String>,
}

impl Place {
    /// Of a URL.
    pub(super) fn of(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(443)),
            _ => (authority, 443),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let told = Vec::new();
        Self { host, port, told }
    }

    /// Whether no name server is needed: where it is is told, or is an address, or a Service of the cluster.
    fn is_clear(&self) -> bool {
        !self.told.is_empty() || self.host.parse::<IpAddr>().is_ok() || self.service().is_some()
    }

    /// The namespace of a Service by its name in a cluster, whose address is no pod's.
    fn service(&self) -> Option<&str> {
        let mut labels = self.host.split('.').skip(1);
        let namespace = labels.next()?;
        (labels.next() == Some("svc")).then_some(namespace)
    }
}

/// All places that the pods of an infrastructure may dial, the one in their join document first. Where its own are not told,
/// they move on to other control planes.
pub(super) fn places(settings: &Kubernetes, joined: &str, others: &[String]) -> Vec<Place> {
    let own = settings.control_plane.as_ref();
    let mut places = vec![Place {
        told: own.map(|own| own.addresses.clone()).unwrap_or_default(),
        ..Place::of(joined)
    }];
    let others = others.iter().filter(|_| own.is_none());
    for place in others.map(|url| Place::of(url)) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// What was told of each host that was asked for, and when.
#[derive(Debug, Default)]
struct Known(HashMap<String, BTreeMap<IpAddr, Time>>);

impl Known {
    fn addresses(&self, host: &str) -> BTreeSet<IpAddr> {
        let told = self.0.get(host).into_iter().flatten();
        told.map(|(address, _)| *address).collect()
    }

    /// Notes an answer; whether it changes what is known.
    fn note(&mut self, host: &str, told: &[IpAddr], now: Time) -> bool {
        let before = self.addresses(host);
        let known = self.0.entry(host.to_owned()).or_default();
        if !told.is_empty() {
            known.retain(|_, last| now.ms() - last.ms() < LIFE_MS);
        }
        for address in told {
            if known.len() < MOST || known.contains_key(address) {
                known.insert(*address, now);
            }
        }
        before != self.addresses(host)
    }
}

/// What hosts are called.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Known>);

impl Names {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks hosts up; whether it changes what is known of them.
    pub(super) async fn look_up(&self, places: &[Place], now: Time) -> bool {
        let mut changed = false;
        for place in places.iter().filter(|place| !place.is_clear()) {
            let asked = timeout(PATIENCE, lookup_host((place.host.as_str(), place.port))).await;
            let told: Vec<IpAddr> = match asked {
                Ok(Ok(told)) => told.map(|address| address.ip()).collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            changed |= self.known().note(&place.host, &told, now);
        }
        changed
    }

    /// What a policy is told of these places. Those that nobody has asked for yet are looked up: later on nobody waits.
    pub(super) async fn dialled(&self, places: &[Place], own: Option<&OwnPods>, now: Time) -> Dialled {
        let is_new = |place: &&Place| !self.known().0.contains_key(&place.host);
        let new: Vec<Place> = places.iter().filter(is_new).cloned().collect();
        self.look_up(&new, now).await;
        dialled(places, own, &self.known())
    }
}

fn dialled(places: &[Place], own: Option<&OwnPods>, known: &Known) -> Dialled {
    let mut dialled = Dialled::default();
    if let Some(own) = own {
        dialled.inside.push(Inside::Pods(own.clone()));
    }
    for (number, place) in places.iter().enumerate() {
        let blocks: BTreeSet<String> = match (place.host.parse::<IpAddr>(), place.service()) {
            _ if !place.told.is_empty() => place.told.iter().cloned().collect(),
            (Ok(address), _) => BTreeSet::from([single(address)]),
            // Its own pods are known better.
            (Err(_), Some(_)) if own.is_some() => continue,
            (Err(_), Some(namespace)) => {
                let namespace = Inside::Namespace(namespace.to_owned());
                if !dialled.inside.contains(&namespace) {
                    dialled.inside.push(namespace);
                }
                continue;
            }
            (Err(_), None) => known.addresses(&place.host).into_iter().map(single).collect(),
        };
        if blocks.is_empty() {
            // Without another control plane its pods do; not without the one that they are told of.
            if number == 0 {
                dialled.unknown = Some(place.host.clone());
            }
            continue;
        }
        dialled.blocks.entry(place.port).or_default().extend(blocks);
    }
    dialled
}

fn single(address: IpAddr) -> String {
    match address {
        IpAddr::V4(_) => format!("{address}/32"),
        IpAddr::V6(_) => format!("{address}/128"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnPods {
        OwnPods {
            namespace: "castoff".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "castoff".to_owned())]),
            port: 8401,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_pods_dial() {
        for (url, host, port, service) in [
            ("https://10.0.0.1:8401", "10.0.0.1", 8401, None),
            ("https://[fd00::1]:8401/", "fd00::1", 8401, None),
            ("https://castoff.far.svc:8401", "castoff.far.svc", 8401, Some("far")),
            (
                "https://c.far.svc.cluster.local",
                "c.far.svc.cluster.local",
                443,
                Some("far"),
            ),
            ("https://castoff.example", "castoff.example", 443, None),
            ("https://svc.example.svc", "svc.example.svc", 443, Some("example")),
        ] {
            let place = Place::of(url);
            assert_eq!(
                (place.host.as_str(), place.port, place.service()),
                (host, port, service),
                "{url}"
            );
        }
    }

    #[test]
    fn other_control_planes_are_dialled_where_nothing_else_is_said() {
        let settings = |own: serde_json::Value| -> Kubernetes {
            serde_json::from_value(serde_json::json!({"namespace": "m", "control_plane": own})).unwrap()
        };
        let others = ["https://b:1", "https://a:1"].map(str::to_owned);
        let all = places(&settings(serde_json::Value::Null), "https://a:1", &others);
        assert_eq!(all, ["https://a:1", "https://b:1"].map(Place::of));
        let own = serde_json::json!({"url": "https://a:1"});
        assert_eq!(
            places(&settings(own), "https://a:1", &others),
            [Place::of("https://a:1")]
        );
    }

    #[test]
    fn a_policy_knows_addresses_and_pods() {
        let mut known = Known::default();
        known.note("named", &[ip("10.1.1.1"), ip("10.1.1.2")], Time::from_ms(0));
        let of = |urls: &[&str], own: Option<&OwnPods>| {
            let places: Vec<Place> = urls.iter().map(|url| Place::of(url)).collect();
            dialled(&places, own, &known)
        };
        let both = of(&["https://named:1", "https://10.0.0.1:1", "https://named:2"], None);
        let blocks = ["10.0.0.1/32", "10.1.1.1/32", "10.1.1.2/32"].map(str::to_owned);
        assert_eq!(both.blocks[&1], BTreeSet::from(blocks));
        assert_eq!(both.blocks[&2].len(), 2);
        assert_eq!((both.inside, both.unknown), (Vec::new(), None));

        let own = own();
        let inside = of(&["https://castoff.castoff.svc:8401"], Some(&own));
        assert_eq!(inside.inside, [Inside::Pods(own.clone())]);
        assert!(inside.blocks.is_empty() && inside.unknown.is_none());
        // By a balancer in front of them: its address, or theirs, whichever the policy sees.
        let around = of(&["https://named:443"], Some(&own));
        assert!(around.inside == [Inside::Pods(own)] && around.blocks[&443].len() == 2);

        let tunnel = of(&["https://tunnel.far.svc:8401"], None);
        assert_eq!(tunnel.inside, [Inside::Namespace("far".to_owned())]);
        let told = Place {
            told: vec!["192.0.2.0/24".to_owned()],
            ..Place::of("https://tunnel.far.svc:8401")
        };
        let told = dialled(&[told], None, &known);
        assert_eq!(told.blocks[&8401], BTreeSet::from(["192.0.2.0/24".to_owned()]));
        assert!(told.inside.is_empty());
        assert!(of(&["https://named:1", "https://other:1"], None).unknown.is_none());
        let unknown = of(&["https://other:1"], None);
        assert_eq!(unknown.unknown.as_deref(), Some("other"));
        assert!(unknown.blocks.is_empty() && unknown.inside.is_empty());
    }

    #[test]
    fn what_was_known_stays_when_nobody_answers() {
        let mut known = Known::default();
        let at = |minutes: i64| Time::from_ms(minutes * 60_000);
        assert!(!known.note("c", &[], at(0)) && known.addresses("c").is_empty());
        assert!(known.note("c", &[ip("10.0.0.1")], at(0)));
        assert!(!known.note("c", &[], at(1_000)), "nobody answers");
        assert_eq!(known.addresses("c"), BTreeSet::from([ip("10.0.0.1")]));
        // Of many addresses a few are told at a time, and one that is told no more goes.
        assert!(known.note("c", &[ip("10.0.0.2")], at(30)));
        assert_eq!(known.addresses("c").len(), 2);
        assert!(!known.note("c", &[ip("10.0.0.2")], at(50)));
        assert!(known.note("c", &[ip("10.0.0.2")], at(61)));
        assert_eq!(known.addresses("c"), BTreeSet::from([ip("10.0.0.2")]));
    }

    #[tokio::test]
    async fn a_host_is_looked_up() {
        let (names, now) = (Names::default(), Time::from_ms(0));
        let places = [Place::of("https://localhost:8401")];
        let dialled = names.dialled(&places, None, now).await;
        assert!(
            dialled.unknown.is_none() && !dialled.blocks[&8401].is_empty(),
            "{dialled:?}"
        );
        assert!(!names.look_up(&places, now).await, "nothing new");
        let none = names
            .dialled(&[Place::of("https://no.such.host.invalid:1")], None, now)
            .await;
        assert_eq!(none.unknown.as_deref(), Some("no.such.host.invalid"));
    }
}
