//! A number that tells data apart.

/// A hash of these words: the same on every platform and in every build, since it is stored. Not for secrets.
pub(crate) fn fingerprint(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0x9E37_79B9_7F4A_7C15, |hash: u64, word| {
        let mixed = u128::from(hash ^ word) * 0xDA94_2042_E4DD_58B5;
        // Both halves of the product, so that no bit of the word is lost; the rotation keeps their order.
        ((mixed >> 64) as u64 ^ mixed as u64).rotate_left(29).wrapping_add(word ^ 0xD1B5_4A32_D192_ED03)
    })
}

/// The words of a text, its length among them.
pub(crate) fn words(text: &str) -> impl Iterator<Item = u64> {
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    text.as_bytes().chunks(8).map(word).chain([text.len() as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_bits_matter_and_the_number_stays() {
        let of = |words: &[u64]| fingerprint(words.iter().copied());
        let all = [of(&[]), of(&[0]), of(&[0, 0]), of(&[1, 2]), of(&[2, 1]), of(&[1 << 63]), of(&[1])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one));
        }
        assert_ne!(fingerprint(words("ab")), fingerprint(words("ba")));
        // Stored states hold such numbers: a change here would refuse them.
        assert_eq!(of(&[1, 2, 3]), FIXED);
    }

    const FIXED: u64 = 18_062_794_096_275_550_427;
}
