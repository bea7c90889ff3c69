//! CRC-32C (Castagnoli; RFC 4960, appendix B), reflected. Only headers with a checksum are summed,
//! and they are short: a table of 256 entries is fast enough.

const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                (sum >> 1) ^ POLYNOMIAL
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// The checksum of the parts, one behind the other.
pub fn of(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(u32::MAX, |sum, &byte| {
        let index = (sum ^ u32::from(byte)) & 0xFF;
        (sum >> 8) ^ TABLE[index as usize]
    })
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_published_values_come_out() {
        // The check value of the catalogue of CRC algorithms, and RFC 3720, appendix B.4.
        assert_eq!(of(&[b"123456789"]), 0xE306_9283);
        assert_eq!(of(&[b"1234", b"", b"56789"]), 0xE306_9283);
        assert_eq!(of(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(of(&[&[0xFF; 32]]), 0x62A8_AB43);
    }
}
