//! Which version answers a call.
//!
//! Pure, apart from the dialects, since all of them route alike. The rule a newcomer would break: a version that the
//! caller names is taken even at weight 0, and a version that does not exist is never replaced by another.

/// Something with a share of the calls.
pub trait Weighted {
    /// Its share, out of 100.
    fn weight(&self) -> u32;
}

/// The one whose share holds `ticket`, a number that is taken modulo the sum of the shares.
pub fn choose<T: Weighted>(items: &[T], ticket: u64) -> Option<&T> {
    let total: u64 = items.iter().map(|item| u64::from(item.weight())).sum();
    let mut left = ticket.checked_rem(total)?;
    items.iter().find(|item| {
        let weight = u64::from(item.weight());
        let here = left < weight;
        left = left.saturating_sub(weight);
        here
    })
}

/// The ticket of a dispatch key: the same key gets the same version, on every node, for as long as the weights stay.
pub fn ticket(dispatch_key: &str) -> u64 {
    let digest = castoff_wire::sha256(&[b"castoff-dispatch-v1\0", dispatch_key.as_bytes()]);
    digest
        .iter()
        .take(8)
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Share(u32);

    impl Weighted for Share {
        fn weight(&self) -> u32 {
            self.0
        }
    }

    #[test]
    fn tickets_fall_as_the_weights_say() {
        let shares = [Share(70), Share(0), Share(30)];
        let mut got = [0; 3];
        for ticket in 0..100 {
            let chosen = choose(&shares, ticket).unwrap();
            got[shares.iter().position(|share| std::ptr::eq(share, chosen)).unwrap()] += 1;
        }
        assert_eq!(got, [70, 0, 30]);
        assert!(choose::<Share>(&[], 1).is_none());
        assert!(choose(&[Share(0)], 1).is_none());
    }

    #[test]
    fn a_dispatch_key_keeps_its_ticket() {
        assert_eq!(ticket("customer-7"), ticket("customer-7"));
        assert_ne!(ticket("customer-7"), ticket("customer-8"));
    }
}
