//! What the tests of the push share: an installation with one deployment, and a node that the test plays.

use bytes::Bytes;
use castoff_control_plane::artifacts::{Limits as PackageLimits, Packages};
use castoff_control_plane::authn::{Actor, Secret, SecretKind};
use castoff_control_plane::authz::{self, DecisionTable, Deploy};
use castoff_control_plane::clock::Clock;
use castoff_control_plane::domain::package::Digest;
use castoff_control_plane::domain::{
    Access, AccountName, Allowances, Deployment, DeploymentName, HeaderName, InfrastructureKind, InfrastructureName,
    KeyClass, KeyVisibility, Limits, Route, Scale, ServiceAccess, ServiceName, Stage, Title, VersionName,
};
use castoff_control_plane::push::{Publisher, Push, PushSettings, Receipt};
use castoff_control_plane::store::{
    self, Installation, MasterKey, NewDeployment, NewInfrastructure, NewKey, NewService, NewVersion, Permit, Seen,
    Store,
};
use castoff_wire::join::Join;
use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::from_node::Message as Up;
use castoff_wire::proto::to_node::Message as Down;
use castoff_wire::proto::{self, FetchRequest, FromNode, Hello, Position, Signed, ToNode};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

/// Nothing takes so long; a test that waits for what never comes fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    pub folder: TempDir,
    pub store: Store,
    pub packages: Packages,
    pub table: DecisionTable,
    pub admin: Arc<Actor>,
    pub push: Push,
    pub stopping: CancellationToken,
    pub deployment: Uuid,
    pub token: Secret,
    pub join: Join,
    pub model: Vec<u8>,
}

pub fn model(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../tests/models/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub async fn open_store(folder: &TempDir) -> (Store, Installation) {
    let db = store::connect(&store::sqlite_url(folder.path()), false).await.unwrap();
    let clock = Clock::default();
    let master = MasterKey::new([7; 32]);
    let installation = store::prepare(&db, &master, clock.now()).await.unwrap().unwrap();
    let publisher = Arc::new(Publisher::new(&installation).unwrap());
    let store = Store::new(db, clock, Arc::clone(&installation.vault), publisher);
    (store, installation)
}

impl World {
    pub async fn new() -> Self {
        Self::on("127.0.0.1:0").await
    }

    /// With the port of the nodes at this address; TLS where it is reachable from other machines.
    pub async fn on(listen: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        store::migrate_up(&store::sqlite_url(folder.path())).await.unwrap();
        let (store, mut installation) = open_store(&folder).await;
        let packages = Packages::open(&folder.path().join("packages"), PackageLimits::default()).unwrap();
        let table = authz::load_builtin().await.unwrap();
        let system = store.system();
        let name = AccountName::parse("root").unwrap();
        let key = system.create_admin_key(&name, None).await.unwrap();
        let admin = store.actor(&key, SecretKind::AccessToken, None).await.unwrap().unwrap();
        let admin = Arc::new(admin);
        let stopping = CancellationToken::new();
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let url = (!address.ip().is_loopback()).then(|| format!("https://localhost:{}", address.port()));
        listener.set_nonblocking(true).unwrap();
        let settings = PushSettings {
            listener,
            port: castoff_listen::Port::default(),
            url,
            names: Vec::new(),
            certificate: None,
            stopping: stopping.clone(),
        };
        let push = Push::start(settings, &store, &packages, &mut installation)
            .await
            .unwrap();
        let permit = store.platform(&admin).admit(&table, &admin).unwrap();
        let new = NewService {
            name: ServiceName::parse("iris").unwrap(),
            description: String::new(),
            access: ServiceAccess::Keys,
            key_visibility: KeyVisibility::Owner,
        };
        store.create_service(&permit, new).await.unwrap();
        let permit = store.platform(&admin).admit(&table, &admin).unwrap();
        let stage = Stage::parse("dev").unwrap();
        let new = NewInfrastructure {
            name: InfrastructureName::parse("edge").unwrap(),
            kind: InfrastructureKind::Static,
            description: String::new(),
            allow: Allowances::of_stage(&stage),
            kubernetes: None,
            kubeconfig: None,
            stage,
        };
        store.create_infrastructure(&permit, new).await.unwrap();
        let token = Secret::mint(SecretKind::NodeToken).unwrap();
        let mut world = Self {
            join: push.joins.document(Uuid::nil(), &token),
            folder,
            store,
            packages,
            table,
            admin,
            push,
            stopping,
            deployment: Uuid::nil(),
            token,
            model: model("iris-tensor.onnx"),
        };
        world.upload("v1", "iris-tensor.onnx").await;
        (world.deployment, world.token) = world.deploy("iris-on-edge").await;
        world.join = world.push.joins.document(world.deployment, &world.token);
        world
    }

    pub async fn end(self) {
        self.stopping.cancel();
        tokio::time::timeout(PATIENCE, self.push.end()).await.unwrap();
    }

    pub async fn upload(&self, version: &str, file: &str) -> Digest {
        let name = ServiceName::parse("iris").unwrap();
        let body = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(model(file)))]);
        let received = self.packages.receive(body, &name).await.unwrap();
        self.packages.keep(&received).await.unwrap();
        let sealed = self.store.service(&self.admin, "iris").await.unwrap();
        let permit = sealed.admit(&self.table, &self.admin).unwrap();
        let new = NewVersion {
            name: VersionName::parse(version).unwrap(),
            digest: received.digest,
            size: received.size,
            manifest: received.manifest,
        };
        self.store.add_version(&permit, new).await.unwrap();
        received.digest
    }

    pub async fn deploy(&self, name: &str) -> (Uuid, Secret) {
        let sealed = self.store.site(&self.admin, "iris", "edge").await.unwrap();
        let permit = sealed.admit(&self.table, &self.admin).unwrap();
        let new = NewDeployment {
            name: DeploymentName::parse(name).unwrap(),
            route: Route::only(VersionName::parse("v1").unwrap()),
            enabled: true,
            access: Access::Keys,
            key_header: HeaderName::parse("x-api-key").unwrap(),
            scale: Scale::default(),
            limits: Limits::default(),
            note: String::new(),
        };
        let id = self.store.create_deployment(&permit, new).await.unwrap();
        let permit = self.permit(name).await;
        (id, self.store.create_node_token(&permit).await.unwrap())
    }

    pub async fn permit(&self, name: &str) -> Permit<Deploy, Deployment> {
        let sealed = self.store.deployment(&self.admin, name).await.unwrap();
        sealed.admit(&self.table, &self.admin).unwrap()
    }

    pub async fn new_key(&self, store: &Store, name: &str) -> (String, Uuid) {
        let permit = self.permit("iris-on-edge").await;
        let ring = store.deployment_keys_to_change(&permit).await.unwrap();
        let new = NewKey {
            name: Title::parse(name).unwrap(),
            class: KeyClass::RevealOnce,
            imported: None,
            endpoints: Vec::new(),
            not_before: None,
            expires_at: None,
            rate_limit: None,
            quota: None,
        };
        let (text, changed) = store.create_key(&ring, new).await.unwrap();
        (text.expose().to_owned(), changed.key.id)
    }

    pub async fn revoke(&self, key: Uuid) {
        let permit = self.permit("iris-on-edge").await;
        let ring = self.store.deployment_keys_to_change(&permit).await.unwrap();
        self.store.revoke_key(&ring, key).await.unwrap();
    }

    pub async fn position(&self) -> (u64, u64) {
        let config = self.store.system().config(self.deployment).await.unwrap().unwrap();
        (config.epoch, config.version)
    }

    pub async fn receipt(&self, wait: Duration) -> Receipt {
        let position = self.position().await;
        self.push.receipts.wait(self.deployment, position, wait).await.unwrap()
    }

    pub async fn events(&self) -> Vec<String> {
        let seen = Seen::of(&self.admin, &self.table);
        let events = self.store.events_after(&seen, Some(self.deployment), 0).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }

    pub async fn client(&self) -> ControlClient<Channel> {
        let mut endpoint = Channel::from_shared(self.join.control_plane.clone()).unwrap();
        if let Some(authority) = &self.join.ca_pem {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        ControlClient::new(endpoint.connect().await.unwrap())
    }

    pub fn hello(&self, node_id: Uuid) -> Hello {
        Hello {
            node_id: node_id.as_bytes().to_vec(),
            deployment_id: self.deployment.as_bytes().to_vec(),
            release: "0.1.0".into(),
            http_address: "127.0.0.1:8000".into(),
            ..Hello::default()
        }
    }

    /// Dials as a node does, with this as the first message.
    pub async fn dial(&self, token: &str, first: Up) -> Result<FakeNode, Status> {
        let (sender, receiver) = mpsc::channel(16);
        FakeNode::send_on(&sender, first).await;
        let mut request = Request::new(ReceiverStream::new(receiver));
        request.metadata_mut().insert("authorization", bearer(token));
        let from_control = self.client().await.follow(request).await?.into_inner();
        Ok(FakeNode { sender, from_control })
    }

    pub async fn join(&self, hello: Hello) -> FakeNode {
        self.dial(self.token.expose(), Up::Hello(hello)).await.unwrap()
    }

    pub async fn fetch(&self, token: &str, digest: &[u8]) -> Result<Vec<u8>, Status> {
        let mut request = Request::new(FetchRequest {
            digest: digest.to_vec(),
        });
        request.metadata_mut().insert("authorization", bearer(token));
        let mut chunks = self.client().await.fetch(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend(chunk.data);
        }
        Ok(bytes)
    }

    /// The config in a snapshot, opened as a node opens it.
    pub fn open(&self, signed: &Signed) -> (proto::Config, Position) {
        let (_, trust) = Join::parse(&serde_json::to_string(&self.join).unwrap()).unwrap();
        let config = signed.open(&trust, self.deployment).unwrap();
        let position = signed.position(&config);
        (config, position)
    }
}

pub fn bearer(token: &str) -> tonic::metadata::MetadataValue<tonic::metadata::Ascii> {
    format!("Bearer {token}").parse().unwrap()
}

pub struct FakeNode {
    pub sender: mpsc::Sender<FromNode>,
    pub from_control: Streaming<ToNode>,
}

impl FakeNode {
    pub async fn send_on(sender: &mpsc::Sender<FromNode>, message: Up) {
        let message = FromNode { message: Some(message) };
        sender.send(message).await.unwrap();
    }

    pub async fn send(&self, message: Up) {
        Self::send_on(&self.sender, message).await;
    }

    pub async fn ack(&self, position: &Position) {
        let position = Some(position.clone());
        self.send(Up::Ack(proto::Ack { position })).await;
    }

    /// The next message that is not a heartbeat, each answered with one; none when the stream has ended.
    pub async fn next(&mut self) -> Option<Down> {
        let next = async {
            loop {
                match self.from_control.message().await.ok()??.message? {
                    Down::Heartbeat(heartbeat) => {
                        let message = Some(Up::Heartbeat(heartbeat));
                        // Whether the stream has ended meanwhile, the next message says.
                        let _ = self.sender.send(FromNode { message }).await;
                    }
                    other => return Some(other),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap()
    }

    /// What the next heartbeat says of the nodes that share the rate limits, and whether it came before anything else.
    pub async fn told(&mut self) -> (u32, bool) {
        let beat = async {
            let mut first = true;
            loop {
                match self.from_control.message().await.unwrap().unwrap().message.unwrap() {
                    Down::Heartbeat(heartbeat) => {
                        self.send(Up::Heartbeat(proto::Heartbeat::default())).await;
                        return (heartbeat.nodes, first);
                    }
                    _ => first = false,
                }
            }
        };
        tokio::time::timeout(PATIENCE, beat).await.unwrap()
    }

    pub async fn snapshot(&mut self) -> Signed {
        match self.next().await {
            Some(Down::Snapshot(signed)) => {
                let digest = signed.digest().to_vec();
                self.send(Up::Received(proto::Received { digest })).await;
                signed
            }
            other => panic!("no snapshot but {other:?}"),
        }
    }
}

/// Looks until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    assert!(found.is_ok(), "never: {what}");
}
