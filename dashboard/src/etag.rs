//! Entity tags, computed while compiling.

/// Sixteen hexadecimal digits between quotes.
pub(crate) const LENGTH: usize = 18;

/// FNV-1a (Fowler, Noll, Vo), 64 bits: it tells versions of our own files apart, it is no defence against
/// anyone.
pub(crate) const fn entity_tag(body: &[u8]) -> [u8; LENGTH] {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut index = 0;
    while index < body.len() {
        hash = (hash ^ body[index] as u64).wrapping_mul(0x0100_0000_01b3);
        index += 1;
    }
    let mut tag = [b'"'; LENGTH];
    let mut digit = 0;
    while digit < 16 {
        tag[1 + digit] = b"0123456789abcdef"[(hash >> (60 - 4 * digit)) as usize & 0xf];
        digit += 1;
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::entity_tag;

    #[test]
    fn the_tag_is_the_published_fnv_1a_value_in_quotes() {
        assert_eq!(&entity_tag(b""), b"\"cbf29ce484222325\"");
        assert_eq!(&entity_tag(b"foobar"), b"\"85944171f73967e8\"");
    }
}
