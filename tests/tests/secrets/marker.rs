//! A secret in all the forms in which it could leak, and the search for them.

use castoff_control_plane::authn::{Secret, SecretKind};
use castoff_wire::key::KeyHash;
use castoff_wire::sha256;
use uuid::Uuid;

/// A secret that was planted, or learnt when it was made.
pub struct Marker {
    /// What it is.
    pub what: &'static str,
    /// Its text, as it would be sent.
    pub text: String,
    /// What to look for, and what that is of it.
    forms: Vec<(&'static str, String)>,
}

/// Where a form of a secret may be, and why: all other places are leaks.
pub struct Allowed {
    /// What the secret is, or its beginning.
    pub what: &'static str,
    pub form: &'static str,
    /// Something in the name of the place.
    pub place: &'static str,
    pub why: &'static str,
}

/// What was found, and where.
pub struct Search<'a> {
    pub markers: Vec<Marker>,
    pub allowed: &'a [Allowed],
    /// How often each of the allowed was met: one that is never met says something that is not so.
    pub met: Vec<usize>,
    pub leaks: Vec<String>,
    pub searched: usize,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base64 without padding.
fn base64(bytes: &[u8], last_two: &[u8; 2]) -> String {
    let digit = |number: u8| match number {
        0..26 => b'A' + number,
        26..52 => b'a' + number - 26,
        52..62 => b'0' + number - 52,
        _ => last_two[usize::from(number - 62)],
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let number = three
            .iter()
            .enumerate()
            .fold(0_u32, |sum, (at, byte)| sum | (u32::from(*byte) << (16 - 8 * at)));
        for at in 0..=three.len() {
            let six = ((number >> (18 - 6 * at)) & 63) as u8;
            text.push(char::from(digit(six)));
        }
    }
    text
}

/// The part in the middle: lists show the first eight and last four characters of a key on purpose.
fn middle(text: &str) -> &str {
    match text.len() {
        30.. => &text[9..text.len() - 5],
        _ => text,
    }
}

impl Marker {
    pub fn new(what: &'static str, text: &str) -> Self {
        let middle = middle(text);
        let mut forms = vec![("raw", middle.to_owned())];
        let escaped: String = middle
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        for escaped in [escaped.replace("%20", "+"), escaped] {
            if escaped != middle {
                forms.push(("URL-encoded", escaped));
            }
        }
        forms.push(("hex", hex(middle.as_bytes())));
        forms.push(("hex", hex(middle.as_bytes()).to_uppercase()));
        for alphabet in [b"+/", b"-_"] {
            // Where it begins in a longer text decides between three ways; what touches its neighbours is left out.
            for shift in 0..3 {
                let shifted = [&[0; 2][..shift], middle.as_bytes()].concat();
                let whole = base64(&shifted[..shifted.len() / 3 * 3], alphabet);
                forms.push(("base64", whole[if shift == 0 { 0 } else { 4 }..].to_owned()));
            }
        }
        let mut marker = Self {
            what,
            text: text.to_owned(),
            forms,
        };
        marker.hash("SHA-256", &sha256(&[text.as_bytes()]));
        for kind in [SecretKind::AccessToken, SecretKind::Session, SecretKind::NodeToken] {
            if let Some(secret) = Secret::presented(kind, text) {
                marker.hash("its stored hash", &secret.hash().into_bytes());
            }
        }
        marker.forms.sort();
        marker.forms.dedup();
        marker
    }

    /// Bytes that are no text.
    pub fn of_bytes(what: &'static str, bytes: &[u8]) -> Self {
        let mut marker = Self {
            what,
            text: hex(bytes),
            forms: Vec::new(),
        };
        marker.hash("raw", bytes);
        marker.hash("SHA-256", &sha256(&[bytes]));
        marker
    }

    /// An API key: also its two hashes.
    pub fn key(what: &'static str, text: &str, deployment: Uuid) -> Self {
        let mut marker = Self::new(what, text);
        let stored = KeyHash::of(text.as_bytes());
        marker.hash("H1", stored.as_bytes());
        marker.hash("H2", &stored.at(deployment));
        marker
    }

    fn hash(&mut self, form: &'static str, bytes: &[u8]) {
        self.forms.push((form, hex(bytes)));
        for alphabet in [b"+/", b"-_"] {
            self.forms.push((form, base64(bytes, alphabet)));
        }
    }
}

impl<'a> Search<'a> {
    pub fn new(markers: Vec<Marker>, allowed: &'a [Allowed]) -> Self {
        Self {
            markers,
            allowed,
            met: vec![0; allowed.len()],
            leaks: Vec::new(),
            searched: 0,
        }
    }

    /// Looks through what was found at a place.
    pub fn look(&mut self, place: &str, text: &str) {
        self.searched += 1;
        for marker in &self.markers {
            for (form, wanted) in &marker.forms {
                let Some(at) = text.find(wanted.as_str()) else { continue };
                let fits =
                    |it: &Allowed| marker.what.starts_with(it.what) && *form == it.form && place.contains(it.place);
                match self.allowed.iter().position(fits) {
                    Some(number) => self.met[number] += 1,
                    None => {
                        // Around it, and not the secret itself.
                        let before: String = text[..at].chars().rev().take(80).collect();
                        let before: String = before.chars().rev().collect();
                        self.leaks
                            .push(format!("{} ({form}) in {place}, after {before:?}", marker.what));
                    }
                }
            }
        }
    }
}

#[test]
fn the_search_finds_what_is_hidden() {
    let text = "cst_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
    let found = |place: &str| {
        let mut search = Search::new(vec![Marker::key("key", text, Uuid::nil())], &[]);
        search.look("here", place);
        !search.leaks.is_empty()
    };
    let stored = KeyHash::of(text.as_bytes());
    assert!(found(&format!("..{text}..")) && found(&hex(text.as_bytes())) && found(&hex(stored.as_bytes())));
    assert!(found(&hex(&stored.at(Uuid::nil()))) && !found("nothing"));
    for before in ["", "a", "ab", "abc"] {
        assert!(
            found(&base64(format!("{before}{text}, and more").as_bytes(), b"+/")),
            "{before}"
        );
    }
    assert_eq!(base64(b"light wor", b"+/"), "bGlnaHQgd29y");
    assert_eq!(base64(b"light w", b"+/"), "bGlnaHQgdw");
}
