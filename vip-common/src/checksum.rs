//! The Internet checksum (RFC 1071), over words.

/// Folds a sum to 16 bits with end-around carry.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// One's complement sum of the words.
#[inline(always)]
pub fn sum(words: &[u16]) -> u16 {
    let mut total = 0u64;
    for word in words {
        total += *word as u64;
    }
    fold(total)
}

/// The part of the pseudo-header (RFC 8200, 8.1) that is not in the addresses: upper-layer
/// length and next header 58.
#[inline(always)]
pub const fn icmpv6_rest(length: u32) -> u64 {
    (length as u16).to_be() as u64 + 58u16.to_be() as u64
}

/// The checksum over a sum. 0 and ffff are the same number (RFC 1071, 2): ffff is stored, since a
/// checksum of 0 looks like none, and `wire.md`, rule 19 calls it malformed.
#[inline(always)]
pub const fn of(total: u64) -> u16 {
    match !fold(total) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// The checksum after `from` became `to` (RFC 1624, equation 3).
#[inline(always)]
pub fn replace(checksum: u16, from: &[u16; 8], to: &[u16; 8]) -> u16 {
    let mut total = (!checksum) as u64;
    let mut at = 0;
    while at < 8 {
        total += (!from[at]) as u64 + to[at] as u64;
        at += 1;
    }
    of(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn replacing_words_equals_summing_anew(
            before in any::<[u16; 8]>(), after in any::<[u16; 8]>(), rest in any::<[u16; 12]>(),
        ) {
            let whole = |address: &[u16; 8]| fold(sum(address) as u64 + sum(&rest) as u64);
            let patched = replace(!whole(&before), &before, &after);
            // Both zeros of one's complement stand for the same sum.
            let same = |a: u16, b: u16| a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0);
            prop_assert!(same(patched, !whole(&after)));
        }

        #[test]
        fn a_message_with_its_checksum_sums_to_all_ones(words in any::<[u16; 16]>()) {
            let checksum = !sum(&words);
            prop_assert_eq!(fold(sum(&words) as u64 + checksum as u64), 0xffff);
        }
    }
}
