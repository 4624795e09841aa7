//! From facts to the document that a node obeys. Pure.

use crate::domain::Time;
use crate::domain::package::{Endpoint, EndpointKind, PackageFile};
use crate::store::{ConfigFacts, KeyFact, LegFact};
use castoff_wire::proto::{self, access::Mode, endpoint::Kind};
use uuid::Uuid;

/// The config of these facts. The same facts make the same bytes.
pub(super) fn config(facts: &ConfigFacts) -> proto::Config {
    let mut keys: Vec<proto::Key> = facts.keys.iter().map(|fact| key(facts.deployment_id, fact)).collect();
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    let mode = if facts.public { Mode::Public } else { Mode::Keys };
    let limits = &facts.limits;
    proto::Config {
        deployment_id: facts.deployment_id.as_bytes().to_vec(),
        deployment: facts.deployment.clone(),
        epoch: facts.epoch,
        version: facts.version,
        serving: Some(proto::Serving {
            service: facts.service.clone(),
            versions: facts.legs.iter().map(version).collect(),
            limits: Some(proto::Limits {
                sessions: limits.sessions,
                queue: limits.queue,
                deadline_ms: limits.deadline_ms,
                max_body_bytes: limits.max_body_bytes,
                drain_delay_ms: limits.drain_delay_ms,
                max_staleness_s: limits.max_staleness_s,
            }),
        }),
        access: Some(proto::Access {
            mode: mode.into(),
            key_header: facts.key_header.to_string(),
            keys,
        }),
    }
}

fn version(leg: &LegFact) -> proto::RoutedVersion {
    proto::RoutedVersion {
        name: leg.version.to_string(),
        weight: leg.weight,
        digest: leg.digest.as_bytes().to_vec(),
        endpoints: leg.manifest.endpoints.iter().map(endpoint).collect(),
    }
}

fn endpoint(endpoint: &Endpoint) -> proto::Endpoint {
    let kind = match endpoint.kind {
        EndpointKind::Tensor => Kind::Tensor,
        EndpointKind::Records => Kind::Records,
    };
    proto::Endpoint {
        name: endpoint.name.to_string(),
        kind: kind.into(),
        model: Some(file(&endpoint.file)),
        columns: endpoint.columns.clone(),
        labels: endpoint.labels.clone(),
        max_batch_size: endpoint.max_batch_size,
        test_queries: endpoint.test_queries.as_ref().map(file),
    }
}

fn file(file: &PackageFile) -> proto::File {
    proto::File {
        path: file.path.clone(),
        digest: file.digest.as_bytes().to_vec(),
        size: file.size,
    }
}

fn key(deployment_id: Uuid, fact: &KeyFact) -> proto::Key {
    let bound = |time: Option<Time>| time.map_or(0, Time::ms);
    proto::Key {
        id: fact.id.as_bytes().to_vec(),
        hash: fact.hash.at(deployment_id).to_vec(),
        endpoints: fact.endpoints.clone(),
        not_before_ms: bound(fact.not_before),
        expires_at_ms: bound(fact.expires_at),
        rate_limit: fact.rate_limit.map(|limit| proto::RateLimit {
            requests: limit.requests(),
            seconds: limit.seconds(),
            burst: limit.burst(),
        }),
        used_up_until_ms: bound(fact.used_up_until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{HeaderName, Limits, SaidRateLimit};
    use castoff_wire::key::KeyHash;
    use prost::Message;

    fn facts(keys: Vec<KeyFact>) -> ConfigFacts {
        ConfigFacts {
            deployment_id: Uuid::from_u128(7),
            deployment: "iris-on-dev".into(),
            epoch: 1,
            version: 3,
            service: "iris".into(),
            legs: Vec::new(),
            limits: Limits::default(),
            public: false,
            key_header: HeaderName::parse("x-api-key").unwrap(),
            keys,
        }
    }

    fn fact(number: u128) -> KeyFact {
        KeyFact {
            id: Uuid::from_u128(number),
            hash: KeyHash::of(number.to_string().as_bytes()),
            endpoints: Vec::new(),
            not_before: None,
            expires_at: Some(Time::from_ms(5)),
            rate_limit: None,
            used_up_until: None,
        }
    }

    #[test]
    fn the_same_facts_make_the_same_bytes_whatever_their_order() {
        let one = config(&facts(vec![fact(1), fact(2)])).encode_to_vec();
        assert_eq!(one, config(&facts(vec![fact(2), fact(1)])).encode_to_vec());
    }

    #[test]
    fn a_node_never_gets_the_hash_that_the_database_keeps() {
        let hash = *fact(1).hash.as_bytes();
        let bytes = config(&facts(vec![fact(1)])).encode_to_vec();
        assert!(!bytes.windows(32).any(|window| window == hash));
        let keys = config(&facts(vec![fact(1)])).access.unwrap().keys;
        assert_eq!(keys[0].hash, KeyHash::of(b"1").at(Uuid::from_u128(7)));
        assert_eq!((keys[0].not_before_ms, keys[0].expires_at_ms), (0, 5));
    }

    #[test]
    fn a_node_gets_the_limits_of_a_key() {
        let limit = SaidRateLimit {
            requests: 3,
            seconds: Some(60),
            burst: None,
        };
        let limited = KeyFact {
            rate_limit: Some(limit.try_into().unwrap()),
            used_up_until: Some(Time::from_ms(9)),
            ..fact(1)
        };
        let keys = config(&facts(vec![limited, fact(2)])).access.unwrap().keys;
        let limit = proto::RateLimit {
            requests: 3,
            seconds: 60,
            burst: 3,
        };
        assert_eq!((keys[0].rate_limit, keys[1].rate_limit), (Some(limit), None));
        assert_eq!((keys[0].used_up_until_ms, keys[1].used_up_until_ms), (9, 0));
    }

    #[test]
    fn without_keys_nobody_is_let_in() {
        let access = config(&facts(Vec::new())).access.unwrap();
        assert_eq!((access.mode(), access.keys.len()), (Mode::Keys, 0));
    }
}
