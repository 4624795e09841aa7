//! Chance that can be repeated: a seed is printed, and given again by `CASTOFF_SEED`.

/// Small, seeded, the same everywhere (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// One that begins here. Nought has no chance in it and is taken for one.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).max(1))
    }

    /// A number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    /// One of these, if there is any.
    pub fn one_of<T>(&mut self, from: impl IntoIterator<Item = T>) -> Option<T> {
        let mut from: Vec<T> = from.into_iter().collect();
        match from.is_empty() {
            true => None,
            false => Some(from.swap_remove(usize::try_from(self.below(from.len() as u64)).expect("an index"))),
        }
    }
}

/// The seed of this run: `CASTOFF_SEED`, or of the clock. Printed, so that a failure can be played again.
pub fn seed(what: &str) -> u64 {
    let given = std::env::var("CASTOFF_SEED").ok();
    let seed = match given {
        Some(text) => text.parse().expect("CASTOFF_SEED is a number"),
        None => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| since.as_millis() as u64),
    };
    println!("{what}: CASTOFF_SEED={seed}");
    seed
}
