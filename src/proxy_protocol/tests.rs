#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::{
    Addresses, Header, LOCAL_V1, LOCAL_V2, MAX_HEADER_BYTES, MAX_LINE_BYTES, Malformed, SIGNATURE,
    Tlvs, crc32c, exercise, read, v1, v2,
};

/// Reads a header with bytes of the client behind it: the header must end where it ends.
fn whole(header: &[u8]) -> Result<Option<Addresses>, Malformed> {
    exercise::headers(header);
    let mut stream = header.to_vec();
    stream.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    exercise::headers(&stream);
    let (read, length) = read(&stream)?.expect("the header is whole");
    assert_eq!(length, header.len());
    Ok(read.addresses)
}

fn ends(source: &str, destination: &str) -> Option<Addresses> {
    let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
    Some(Addresses {
        source: parse(source),
        destination: parse(destination),
    })
}

fn binary(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[version_command, family]);
    header.extend_from_slice(&u16::try_from(block.len()).unwrap().to_be_bytes());
    header.extend_from_slice(block);
    header
}

/// 192.0.2.1:1000 to 198.51.100.2:443.
const INET: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 3, 232, 1, 187];

fn inet_with(tlvs: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&INET[..], tlvs].concat())
}

#[test]
fn the_lines_of_the_document_are_read() {
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let most = format!("PROXY TCP6 {full} {full} 65535 65535\r\n");
    let unknown = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(unknown.len(), MAX_LINE_BYTES);
    let six = format!("[{full}]:65535");
    for (line, expected) in [
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            ends("255.255.255.255:65535", "255.255.255.255:65535"),
        ),
        (
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            ends("192.168.0.1:56324", "192.168.0.11:443"),
        ),
        (&most, ends(&six, &six)),
        ("PROXY UNKNOWN\r\n", None),
        (&unknown, None),
        (
            "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.9 0 1\r\n",
            ends("[2001:db8::1]:0", "192.0.2.9:1"),
        ),
    ] {
        assert_eq!(whole(line.as_bytes()), Ok(expected), "{line:?}");
    }
}

#[test]
fn lines_that_the_document_does_not_allow_are_malformed() {
    for words in [
        "TCP4 192.168.0.1 192.168.0.11 56324",
        "TCP4 192.168.0.1 192.168.0.11 56324 443 ",
        "TCP4 192.168.0.1 192.168.0.11 56324 443 1",
        "TCP4  192.168.0.1 192.168.0.11 56324 443",
        "TCP4\t192.168.0.1 192.168.0.11 56324 443",
        "TCP4 192.168.0.01 192.168.0.11 56324 443",
        "TCP4 192.168.0.256 192.168.0.11 56324 443",
        "TCP4 192.168.0 192.168.0.11 56324 443",
        "TCP4 ::1 ::1 56324 443",
        "TCP6 192.168.0.1 192.168.0.11 56324 443",
        "TCP6 ::1 fe80::1%eth0 56324 443",
        "TCP4 192.168.0.1 192.168.0.11 056324 443",
        "TCP4 192.168.0.1 192.168.0.11 +5632 443",
        "TCP4 192.168.0.1 192.168.0.11 65536 443",
        "TCP4 192.168.0.1 192.168.0.11 -1 443",
        "TCP4 192.168.0.1 192.168.0.11  443",
        "TCP5 192.168.0.1 192.168.0.11 56324 443",
        "UDP4 192.168.0.1 192.168.0.11 56324 443",
        "UNKNOWNS",
        "tcp4 192.168.0.1 192.168.0.11 56324 443",
        "",
        "\u{fe}",
    ] {
        let line = format!("PROXY {words}\r\n");
        assert_eq!(whole(line.as_bytes()), Err(Malformed::Words), "{words:?}");
    }
    let no_return = whole(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n");
    assert_eq!(no_return, Err(Malformed::Words));
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(MAX_LINE_BYTES - 1, b'x');
    assert_eq!(read(&long), Ok(None));
    long.push(b'\r');
    // Without a byte behind it: there is nothing more to wait for.
    assert_eq!(read(&long), Err(Malformed::LongLine));
    assert_eq!(whole(&long), Err(Malformed::LongLine));
    long.push(b'\n');
    assert_eq!(whole(&long), Err(Malformed::LongLine));
}

#[test]
fn what_is_no_header_is_known_by_its_first_wrong_byte() {
    assert_eq!(read(b""), Ok(None));
    for begin in [
        &b"G"[..],
        b"\r\n\r\nQ",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"PROXY\t",
        b"PROXZ",
        b"\0",
    ] {
        assert_eq!(read(begin), Err(Malformed::NoHeader), "{begin:?}");
        assert_eq!(read(&begin[..begin.len() - 1]), Ok(None), "{begin:?}");
    }
}

#[test]
fn binary_headers_name_the_client() {
    let expected = ends("192.0.2.1:1000", "198.51.100.2:443");
    assert_eq!(whole(&inet_with(b"")), Ok(expected));
    let mut six = [0_u8; 36];
    six[..16].copy_from_slice(&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    six[16..32].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 9]);
    six[32..].copy_from_slice(&[0, 80, 0x14, 0xa0]);
    let expected = ends("[2001:db8::7]:80", "192.0.2.9:5280");
    assert_eq!(whole(&binary(0x21, 0x21, &six)), Ok(expected));
}

#[test]
fn headers_that_name_nobody_leave_the_connections_own_address() {
    for header in [
        LOCAL_V1.to_vec(),
        LOCAL_V2.to_vec(),
        // LOCAL with whatever block and family.
        binary(0x20, 0x11, &INET),
        binary(0x20, 0xFF, b"anything"),
        // UNSPEC, datagrams, Unix sockets.
        binary(0x21, 0x00, b""),
        binary(0x21, 0x00, b"anything"),
        binary(0x21, 0x12, &INET),
        binary(0x21, 0x31, &[7; 216]),
    ] {
        assert_eq!(whole(&header), Ok(None), "{header:?}");
        assert_eq!(read(&header).unwrap().unwrap().0.tlvs, Tlvs::default());
    }
}

#[test]
fn binary_headers_that_the_document_does_not_allow_are_malformed() {
    let with_length = |length: u16| {
        let mut header = binary(0x21, 0x11, &[]);
        header[14..].copy_from_slice(&length.to_be_bytes());
        header
    };
    for (header, expected) in [
        (binary(0x11, 0x11, &INET), Malformed::Version(1)),
        (binary(0x31, 0x11, &INET), Malformed::Version(3)),
        (binary(0x22, 0x11, &INET), Malformed::Command(2)),
        (binary(0x2F, 0x11, &INET), Malformed::Command(15)),
        (binary(0x21, 0x41, &INET), Malformed::Family(0x41)),
        (binary(0x21, 0x13, &INET), Malformed::Family(0x13)),
        (binary(0x21, 0x11, &INET[..11]), Malformed::Short),
        (binary(0x21, 0x21, &INET), Malformed::Short),
        (binary(0x21, 0x31, &[0; 215]), Malformed::Short),
        (inet_with(&[1]), Malformed::Tlv),
        (inet_with(&[1, 0]), Malformed::Tlv),
        (inet_with(&[1, 0, 1]), Malformed::Tlv),
        (inet_with(&[4, 0, 0, 5, 1, 0]), Malformed::Tlv),
        (inet_with(&[3, 0, 3, 0, 0, 0]), Malformed::Checksum),
        (inet_with(&[3, 0, 4, 0, 0, 0, 0]), Malformed::Checksum),
        (with_length(4081), Malformed::Long(4097)),
        (with_length(u16::MAX), Malformed::Long(65_551)),
    ] {
        assert_eq!(whole(&header), Err(expected), "{header:?}");
    }
    assert_eq!(read(&with_length(4080)), Ok(None));
    let longest = inet_with(&[&[0xE0, 0x0F, 0xE1][..], &[9; 4065]].concat());
    assert_eq!(longest.len(), MAX_HEADER_BYTES);
    assert!(whole(&longest).unwrap().is_some());
}

#[test]
fn a_checksum_is_verified_wherever_it_stands() {
    let alpn = [1, 0, 2, b'h', b'2'];
    let blank = [3, 0, 4, 0, 0, 0, 0];
    for at_end in [true, false] {
        let tlvs = match at_end {
            true => [&alpn[..], &blank].concat(),
            false => [&blank[..], &alpn].concat(),
        };
        let mut header = inet_with(&tlvs);
        let sum = crc32c::of(&[&header]).to_be_bytes();
        let at = header.len() - if at_end { 4 } else { 9 };
        header[at..at + 4].copy_from_slice(&sum);
        assert!(whole(&header).unwrap().is_some());
        // But for its type: what is no checksum is not verified.
        for byte in (16..header.len()).filter(|&byte| byte != at - 3) {
            let mut damaged = header.clone();
            damaged[byte] ^= 0x40;
            assert!(!matches!(read(&damaged), Ok(Some(_))), "byte {byte}");
        }
    }
}

#[test]
fn tlvs_are_passed_on_but_for_padding_namespace_and_a_checksum_made_anew() {
    let alpn = [1, 0, 2, b'h', b'2'];
    let id = [5, 0, 3, b'a', b'b', b'c'];
    let own = [0xE1, 0, 0];
    let parts: [&[u8]; 5] = [&alpn, &[4, 0, 2, 0, 0], &id, &[0x30, 0, 1, b'n'], &own];
    let header = inet_with(&parts.concat());
    let (Header { addresses, tlvs }, _) = read(&header).unwrap().unwrap();
    let expected = inet_with(&[&alpn[..], &id, &own].concat());
    assert_eq!(v2(addresses.unwrap(), &tlvs), expected);

    let mut summed = inet_with(&[&[3, 0, 4, 0, 0, 0, 0][..], &id, &[4, 0, 0]].concat());
    let sum = crc32c::of(&[&summed]).to_be_bytes();
    summed[31..35].copy_from_slice(&sum);
    let (Header { addresses, tlvs }, _) = read(&summed).unwrap().unwrap();
    let written = v2(addresses.unwrap(), &tlvs);
    assert_eq!(written.len(), 28 + id.len() + 7);
    assert_eq!(read(&written).unwrap().unwrap().0.tlvs, tlvs);
}

#[test]
fn written_headers_are_the_documents() {
    let four = ends("192.168.0.1:56324", "192.168.0.11:443").unwrap();
    assert_eq!(
        v1(four),
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    );
    let six = ends("[2001:db8::1]:1", "[2001:db8::2]:2").unwrap();
    assert_eq!(v1(six), b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
    let inet = ends("192.0.2.1:1000", "198.51.100.2:443").unwrap();
    assert_eq!(v2(inet, &Tlvs::default()), inet_with(b""));
    assert_eq!(v2(six, &Tlvs::default()).len(), 52);
    // One IPv6 end makes both IPv6.
    let mixed = ends("192.0.2.1:1", "[2001:db8::2]:2").unwrap();
    assert_eq!(
        v1(mixed),
        b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"
    );
    assert_eq!(whole(&v2(mixed, &Tlvs::default())), Ok(Some(mixed)));
}

/// Bytes that get beyond the first checks: a good header, damaged at one place or not.
fn near_headers() -> impl Strategy<Value = Vec<u8>> {
    let tlvs = prop::collection::vec(
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..9)),
        0..5,
    );
    let binary_header = (0x1F_u8..0x23, any::<u8>(), 0_usize..40, tlvs);
    let binary_header = binary_header.prop_map(|(command, family, addresses, tlvs)| {
        let family = if family < 128 { 0x11 } else { family & 0x33 };
        let length = match (family >> 4, addresses) {
            (_, 0..4) => addresses,
            (1, _) => 12,
            (2, _) => 36,
            _ => 216,
        };
        let mut block = vec![7; length];
        for (kind, value) in tlvs {
            block.extend_from_slice(&[kind & 7, 0, u8::try_from(value.len()).unwrap()]);
            block.extend_from_slice(&value);
        }
        binary(command, family, &block)
    });
    let line = "PROXY (TCP4 (0|1|255)(\\.[0-9]{1,3}){3} 1\\.2\\.3\\.4|TCP6 [0-9a-f:]{0,40} ::1|UNKNOWN) \
                [0-9]{1,6} [0-9]{1,6}\r\n[a-z]{0,20}";
    let line = prop::string::string_regex(line).unwrap();
    prop_oneof![binary_header, line.prop_map(String::into_bytes)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_keep_the_promises(
        bytes in prop_oneof![near_headers(), prop::collection::vec(any::<u8>(), 0..300)],
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = bytes;
        if let Some((at, value)) = damage && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        exercise::headers(&bytes);
    }

    #[test]
    fn any_two_addresses_survive_both_versions(
        source in any::<(std::net::IpAddr, u16)>(),
        destination in any::<(std::net::IpAddr, u16)>(),
    ) {
        let addresses = Addresses::new(source.into(), destination.into());
        for header in [v1(addresses), v2(addresses, &Tlvs::default())] {
            exercise::headers(&header);
            prop_assert_eq!(read(&header).unwrap().unwrap().0.addresses, Some(addresses));
        }
    }
}
