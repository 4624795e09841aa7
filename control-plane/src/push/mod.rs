//! stub
use crate::authn::Secret;
use crate::store::Error;
use std::time::Duration;
use uuid::Uuid;
#[derive(Clone)]
pub struct Receipts;
#[derive(Clone)]
pub struct Joins;
pub struct Receipt {
    pub deployment_id: Uuid,
    pub epoch: u64,
    pub version: u64,
    pub acked: Vec<Uuid>,
    pub pending: Vec<Uuid>,
    pub durable_copy_written: bool,
    pub elapsed_ms: u64,
}
impl Receipts {
    pub async fn wait(&self, _d: Uuid, _p: (u64, u64), _w: Duration) -> Result<Receipt, Error> {
        Err(Error::NotFound("x"))
    }
}
impl Joins {
    pub fn document(&self, _: Uuid, _: &Secret) -> castoff_wire::Join {
        unimplemented!()
    }
}
pub struct Publisher;
impl Publisher {
    pub fn new(_: &crate::store::Installation) -> Result<Self, String> {
        Ok(Self)
    }
}
impl crate::store::Publish for Publisher {
    fn publish(&self, _: &crate::store::ConfigFacts) -> crate::store::Published {
        unimplemented!()
    }
}
pub struct PushSettings {
    pub listener: std::net::TcpListener,
    pub url: Option<String>,
    pub stopping: tokio_util::sync::CancellationToken,
}
pub struct Push {
    pub joins: Joins,
    pub receipts: Receipts,
}
impl Push {
    pub async fn start(
        _: PushSettings,
        _: &crate::store::Store,
        _: &crate::artifacts::Packages,
        _: &mut crate::store::Installation,
    ) -> Result<Self, String> {
        unimplemented!()
    }
    pub async fn end(self) {}
}
