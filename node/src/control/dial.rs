//! Dialling the control plane: where it is, and the token that travels there.
//!
//! The rule a newcomer would break: two tokens are valid at once. The newest that came by the stream is tried first, and
//! the join document's when that one is not taken, for either may be the newer of the two.

use super::copy::DurableCopy;
use super::line::{self, HANDSHAKES, NotOpened, Taken};
use castoff_wire::Join;
use castoff_wire::join::is_dialable;
use castoff_wire::life::{Life, Living};
use castoff_wire::proto::control_client::ControlClient;
use castoff_wire::proto::{Hello, Opening};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tower::ServiceExt;

/// What calls the control plane as this node.
pub type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Control planes that are worth to be known.
const MOST_PLACES: usize = 16;
/// One that is told of no more is still dialled for so long, after the others: it may be about to come back, and the one that
/// said so may die before it can tell.
const FORMER: Duration = Duration::from_secs(300);
const MOST_ADDRESS: usize = 255;
const CONNECT: Duration = Duration::from_secs(3);
/// The largest config, its signature and a little framing.
const MOST_MESSAGE_BYTES: usize = super::copy::MOST_CONFIG_BYTES as usize + (1 << 16);

/// Puts the node token on every call.
#[derive(Clone)]
pub struct Bearer {
    token: String,
    header: MetadataValue<Ascii>,
}

impl Bearer {
    fn new(token: &str) -> Option<Self> {
        let mut header: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        header.set_sensitive(true);
        let token = token.to_owned();
        Some(Self { token, header })
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").finish_non_exhaustive()
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.header.clone());
        Ok(request)
    }
}

/// One control plane, as it is dialled.
#[derive(Clone)]
struct Place {
    endpoint: Endpoint,
    /// The TLS of a line.
    tls: Option<TlsConnector>,
}

/// Knows where the control plane is and with which tokens to come.
pub struct Dialer {
    /// Where the join document says, then where else; with the addresses by which they are told apart.
    places: Vec<(String, Place)>,
    /// Those that are told of no more, and until when they are dialled: one of them after each round of the others.
    former: VecDeque<(String, Place, Instant)>,
    /// The place that is dialled next; behind the last, the first of the former ones.
    at: usize,
    authority: Option<String>,
    join_token: String,
    copy: DurableCopy,
    /// The join document's token was taken and the stored one was not.
    prefer_join: bool,
}

impl Dialer {
    /// A dialer for what the join document says.
    ///
    /// # Errors
    /// [`NotDialable`] says what in it cannot be used.
    pub fn new(join: &Join, copy: DurableCopy) -> Result<Self, NotDialable> {
        Bearer::new(&join.token).ok_or(NotDialable::Token)?;
        let own = place(&join.control_plane, join.ca_pem.as_deref())?;
        let mut dialer = Self {
            places: vec![(join.control_plane.clone(), own)],
            former: VecDeque::new(),
            at: 0,
            authority: join.ca_pem.clone(),
            join_token: join.token.clone(),
            copy,
            prefer_join: false,
        };
        dialer.know(&dialer.copy.addresses());
        Ok(dialer)
    }

    /// Takes note of where all control planes can be dialled. What a token may not travel to is left out.
    ///
    /// # Errors
    /// When it cannot be kept for the next start; until then it is known.
    pub fn learn(&mut self, urls: &[String]) -> std::io::Result<()> {
        if !self.know(urls) {
            return Ok(());
        }
        let known: Vec<String> = self.places.iter().map(|(url, _)| url.clone()).collect();
        self.copy.keep_addresses(&known)
    }

    /// Whether this is news.
    fn know(&mut self, urls: &[String]) -> bool {
        let before: Vec<String> = self.places.iter().map(|(url, _)| url.clone()).collect();
        let current = before.get(self.at).cloned();
        let until = Instant::now() + FORMER;
        let told_before = self.places.split_off(1);
        self.former
            .extend(told_before.into_iter().map(|(url, place)| (url, place, until)));
        for url in urls.iter().take(MOST_PLACES) {
            let fits = url.len() <= MOST_ADDRESS && is_dialable(url, self.authority.is_some());
            let is_known = self.places.iter().any(|(known, _)| known == url);
            if fits
                && !is_known
                && let Ok(place) = place(url, self.authority.as_deref())
            {
                self.places.push((url.clone(), place));
            }
        }
        let places = &self.places;
        let is_former = |url: &String| places.iter().all(|(known, _)| known != url);
        self.former.retain(|(url, ..)| is_former(url));
        let too_many = self.former.len().saturating_sub(MOST_PLACES);
        self.former.drain(..too_many);
        let at = self.places.iter().position(|(url, _)| Some(url) == current.as_ref());
        self.at = at.unwrap_or(0);
        !self.places.iter().map(|(url, _)| url).eq(&before)
    }

    /// The next dial goes to another control plane, if there is one.
    pub fn turn_to_next(&mut self) {
        if self.at == self.places.len() {
            self.former.rotate_left(1.min(self.former.len()));
        }
        self.former.retain(|(_, _, until)| *until > Instant::now());
        let last = (self.places.len() + 1.min(self.former.len())).saturating_sub(1);
        self.at = if self.at < last { self.at + 1 } else { 0 };
    }

    /// Where the next dial goes.
    fn next(&self) -> Option<&Place> {
        let former = || self.former.front().map(|(_, place, _)| place);
        self.places.get(self.at).map(|(_, place)| place).or_else(former)
    }

    /// The next dial, which borrows nothing: the node goes on meanwhile.
    pub fn dial(&self) -> Dial {
        let stored = self.copy.token().filter(|stored| *stored != self.join_token);
        let mut tokens = vec![(Token::Join, self.join_token.clone())];
        if let Some(stored) = stored {
            tokens.insert(usize::from(self.prefer_join), (Token::Stored, stored));
        }
        let bearers = tokens
            .into_iter()
            .filter_map(|(which, token)| Some((which, Bearer::new(&token)?)));
        Dial {
            place: self.next().cloned(),
            bearers: bearers.collect(),
        }
    }

    /// Notes which token was taken.
    pub fn taken(&mut self, token: Token) {
        self.prefer_join = token == Token::Join;
    }

    /// Keeps a token that came by the stream, for the next dial.
    ///
    /// # Errors
    /// When it is not a token or cannot be written.
    pub fn rotate(&mut self, token: &str) -> std::io::Result<()> {
        let usable = !token.is_empty() && token.len() as u64 <= super::copy::MOST_TOKEN_BYTES;
        if !usable || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(std::io::Error::other("what came is not a token"));
        }
        self.copy.keep_token(token)?;
        self.prefer_join = false;
        Ok(())
    }
}

/// One dial of one control plane.
pub struct Dial {
    place: Option<Place>,
    /// The tokens to try, the likeliest first.
    bearers: Vec<(Token, Bearer)>,
}

impl Dial {
    /// Opens a line, with the first token that is taken; and what else can be asked for there.
    ///
    /// # Errors
    /// [`NotOpened`], of the last token that was tried.
    pub async fn line(&self, hello: &Hello) -> Result<(Token, Taken, Client), NotOpened> {
        let failed = |reason: &str| NotOpened::Failed(reason.to_owned());
        let Place { endpoint, tls } = self.place.as_ref().ok_or_else(|| failed("no address"))?;
        let mut not_opened = failed("no token");
        for (which, bearer) in &self.bearers {
            let opening = Opening {
                token: bearer.token.clone(),
                hello: Some(hello.clone()),
            };
            let uri = endpoint.uri().clone();
            match line::open(tcp(), uri, tls.as_ref(), &opening, MOST_MESSAGE_BYTES).await {
                Ok(taken) => {
                    // Dialled when something is asked for.
                    let client = client(endpoint.connect_with_connector_lazy(tcp()), bearer);
                    return Ok((*which, taken, client));
                }
                Err(NotOpened::Refused(status)) if status.code() == Code::Unauthenticated => {
                    not_opened = NotOpened::Refused(status);
                }
                Err(error) => return Err(error),
            }
        }
        Err(not_opened)
    }

    /// Opens a connection for gRPC, with its signs of life.
    ///
    /// # Errors
    /// Why there is none, in one line.
    pub async fn connect(&self) -> Result<(Life, Channel), String> {
        let place = self.place.as_ref().ok_or("no address")?;
        let life = Life::begin();
        let noted = life.clone();
        let tcp = tcp().map_response(move |tcp| TokioIo::new(Living::new(tcp.into_inner(), noted.clone())));
        match tokio::time::timeout(HANDSHAKES, place.endpoint.connect_with_connector(tcp)).await {
            Ok(connected) => Ok((life, connected.map_err(|error| chain(&error))?)),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    /// The clients to try on a connection, each with another token.
    pub fn clients(&self, channel: &Channel) -> impl Iterator<Item = (Token, Client)> {
        let clients = self.bearers.iter();
        clients.map(|(which, bearer)| (*which, client(channel.clone(), bearer)))
    }
}

fn client(channel: Channel, bearer: &Bearer) -> Client {
    let channel = InterceptedService::new(channel, bearer.clone());
    ControlClient::new(channel).max_decoding_message_size(MOST_MESSAGE_BYTES)
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp
}

fn place(url: &str, authority: Option<&str>) -> Result<Place, NotDialable> {
    let uri: Uri = url.parse().map_err(|_| NotDialable::Address)?;
    // No keepalive of HTTP/2: on a slow line its answer waits behind a config. What a silent peer is, the line judges by
    // its bytes, and a fetch by its chunks.
    let endpoint = Endpoint::from(uri).connect_timeout(CONNECT);
    let Some(authority) = authority.filter(|_| url.starts_with("https://")) else {
        return Ok(Place { endpoint, tls: None });
    };
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    Ok(Place {
        endpoint: endpoint.tls_config(tls).map_err(|_| NotDialable::Authority)?,
        tls: Some(line::tls(authority).ok_or(NotDialable::Authority)?),
    })
}

/// Which token it was; never the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Of the join document.
    Join,
    /// The newest that came by the stream.
    Stored,
}

/// An error with what caused it: the outermost alone says "transport error".
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The join document leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum NotDialable {
    /// Not an address.
    #[error("control_plane is not an address")]
    Address,
    /// Not a certificate.
    #[error("ca_pem is not a certificate")]
    Authority,
    /// Not a token.
    #[error("token cannot travel in a header")]
    Token,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::signing::Signer;

    fn addresses(dialer: &Dialer) -> Vec<&str> {
        dialer.places.iter().map(|(url, _)| url.as_str()).collect()
    }

    #[test]
    fn other_control_planes_are_dialled_in_turn_and_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (join, _) = Join::parse(&Signer::new(1).join("http://127.0.0.1:1", "t")).unwrap();
        let open = || {
            Dialer::new(&join, DurableCopy::open(folder.path()).unwrap())
                .ok()
                .unwrap()
        };
        let mut dialer = open();
        dialer.turn_to_next();
        assert_eq!((addresses(&dialer), dialer.at), (vec!["http://127.0.0.1:1"], 0));
        let told = [
            "http://127.0.0.1:2",
            // Not where a token may go.
            "http://10.0.0.1:3",
            "https://castoff.example:3",
            "no address",
            "http://127.0.0.1:1",
        ];
        dialer.learn(&told.map(str::to_owned)).unwrap();
        let both = vec!["http://127.0.0.1:1", "http://127.0.0.1:2"];
        assert_eq!(addresses(&dialer), both);
        assert_eq!(addresses(&open()), both);
        dialer.turn_to_next();
        assert_eq!(dialer.at, 1);
        // Who is on the line with the second stays there when a third comes.
        dialer
            .learn(&["http://127.0.0.1:3".to_owned(), "http://127.0.0.1:2".to_owned()])
            .unwrap();
        assert_eq!(
            (addresses(&dialer)[dialer.at], dialer.places.len()),
            ("http://127.0.0.1:2", 3)
        );
        dialer.turn_to_next();
        assert_eq!(dialer.at, 0);
    }

    #[test]
    fn one_that_is_told_of_no_more_is_dialled_after_the_others_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let (join, _) = Join::parse(&Signer::new(1).join("http://127.0.0.1:1", "t")).unwrap();
        let mut dialer = Dialer::new(&join, DurableCopy::open(folder.path()).unwrap())
            .ok()
            .unwrap();
        let dials = |dialer: &mut Dialer, count: usize| -> Vec<u16> {
            let next = |_| {
                let port = dialer.next().unwrap().endpoint.uri().port_u16().unwrap();
                dialer.turn_to_next();
                port
            };
            (0..count).map(next).collect()
        };
        let at =
            |ports: &[u16]| -> Vec<String> { ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect() };
        dialer.learn(&at(&[2, 3])).unwrap();
        assert_eq!(dials(&mut dialer, 4), [1, 2, 3, 1]);
        dialer.at = 0;
        // Both are told of no more, and then one is again.
        dialer.learn(&[]).unwrap();
        assert_eq!(dials(&mut dialer, 6), [1, 2, 1, 3, 1, 2]);
        dialer.at = 0;
        dialer.learn(&at(&[3])).unwrap();
        assert_eq!(dials(&mut dialer, 6), [1, 3, 2, 1, 3, 2]);
        // Behind the last when nobody is there any more: from the beginning.
        dialer.at = 2;
        for (_, _, until) in &mut dialer.former {
            *until = Instant::now();
        }
        dialer.turn_to_next();
        assert_eq!(dials(&mut dialer, 4), [1, 3, 1, 3]);
        // A restart knows whom it was told of.
        let again = Dialer::new(&join, DurableCopy::open(folder.path()).unwrap());
        assert_eq!(addresses(&again.ok().unwrap()), at(&[1, 3]));
    }
}
